"""Makes windows of sensor readings, with and without an anomaly, from a seed.

A window is 64 readings in the order of time, at equal intervals of 1 to 30 minutes, some of them missing. What is
normal for one kind of sensor is not for another (a fridge switches, soil is watered, doors are opened in bursts), so
each kind has a signal of its own, and anomalies are placed relative to what the window shows: its noise and its swing.
"""

from dataclasses import dataclass

import numpy as np

WINDOW = 64
CLASSES = ("normal", "spike", "stuck", "drift", "dropout", "step", "noise_burst")
KINDS = ("temperature", "humidity", "soil", "power", "counts")
# never trained on: they show how far the model carries beyond the sensors that it knows
UNSEEN_KINDS = ("co2", "pressure", "tank")
POSITION = np.arange(WINDOW, dtype=np.float64)


@dataclass
class Window:
    kind: str
    label: str
    values: np.ndarray  # float64, anything where missing
    present: np.ndarray  # bool


@dataclass
class Signal:
    values: np.ndarray
    noise: float  # standard deviation of what changes from reading to reading
    resolution: float
    floor: float  # what a broken sensor of this kind tells


def log_uniform(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def smooth_walk(rng, size):
    return np.cumsum(rng.normal(0, size, WINDOW))


def daily(rng, amplitude):
    """A part of a day, with an evening bump now and then; 48 to 1440 readings make a day."""
    phase = 2 * np.pi * (POSITION / log_uniform(rng, 48, 1440) + rng.random())
    return amplitude * (np.sin(phase) + rng.uniform(0, 0.4) * np.sin(2 * phase + rng.uniform(0, 6)))


def relax(start, rise, fall):
    """An event that begins at `start`, rises within about `rise` readings, and dies away within about `fall`."""
    since = np.maximum(POSITION - start, 0)
    return (1 - np.exp(-since / rise)) * np.exp(-since / fall)


def cycles(rng):
    """On and off, as a compressor or a thermostat does: 0 or 1."""
    period, share = rng.uniform(6, 36), rng.uniform(0.25, 0.75)
    at = (POSITION * (1 + rng.normal(0, 0.01)) / period + rng.random()) % 1
    return (at < share).astype(float)


def temperature(rng):
    noise, resolution = log_uniform(rng, 0.02, 0.4), float(rng.choice([0.01, 0.0625, 0.1, 0.1, 0.5, 1]))
    values = rng.uniform(-5, 32) + daily(rng, log_uniform(rng, 0.3, 8)) + smooth_walk(rng, noise * rng.uniform(0, 0.5))
    if rng.random() < 0.25:
        values += rng.uniform(0.3, 1.5) * (np.convolve(np.pad(cycles(rng), 2, "edge"), np.ones(5) / 5, "valid") - 0.5)
    if rng.random() < 0.15:  # a window is opened
        values -= rng.uniform(0.5, 3) * relax(rng.uniform(5, 60), rng.uniform(1.5, 4), rng.uniform(5, 25))
    return Signal(values + rng.normal(0, noise, WINDOW), noise, resolution, float(rng.choice([-127, 0, 85])))


def humidity(rng):
    noise, resolution = log_uniform(rng, 0.1, 1.2), float(rng.choice([0.01, 0.1, 0.5, 1]))
    values = rng.uniform(25, 75) + daily(rng, log_uniform(rng, 1, 12)) + smooth_walk(rng, noise * rng.uniform(0, 0.4))
    if rng.random() < 0.2:  # somebody showers
        values += rng.uniform(5, 25) * relax(rng.uniform(5, 58), rng.uniform(1.5, 4), rng.uniform(6, 25))
    return Signal(
        np.clip(values + rng.normal(0, noise, WINDOW), 0, 100), noise, resolution, float(rng.choice([0, 100]))
    )


def soil(rng):
    noise, resolution = log_uniform(rng, 0.05, 0.8), float(rng.choice([0.1, 0.1, 1]))
    values = 8 + rng.uniform(10, 60) * np.exp(-POSITION / log_uniform(rng, 80, 3000))
    values += daily(rng, rng.uniform(0, 1.2))
    if rng.random() < 0.3:  # watered: up at once, then drying
        values += rng.uniform(6, 25) * relax(rng.uniform(3, 60), rng.uniform(0.6, 3), log_uniform(rng, 25, 120))
    return Signal(values + rng.normal(0, noise, WINDOW), noise, resolution, 0.0)


def power(rng):
    base, noise = log_uniform(rng, 20, 400), rng.uniform(0.01, 0.06)
    values = np.full(WINDOW, base)
    if rng.random() < 0.7:
        values += log_uniform(rng, 0.3, 2) * base * cycles(rng)
    for _ in range(rng.poisson(0.7)):  # somebody cooks
        start, length = rng.integers(0, WINDOW - 2), rng.integers(3, 12)
        values[start : start + length] += rng.uniform(0.5, 4) * base
    values *= 1 + rng.normal(0, noise, WINDOW)
    return Signal(values, noise * base, float(rng.choice([0.1, 1, 5])), 0.0)


def counts(rng):
    rate = log_uniform(rng, 0.08, 30)
    rates = rate * np.exp(np.clip(daily(rng, rng.uniform(0, 0.9)), -3, 1.2))
    if rng.random() < 0.5:
        rates = rates * rng.gamma(6, 1 / 6, WINDOW)
    return Signal(rng.poisson(rates).astype(float), float(np.sqrt(rate)) + 0.3, 1.0, 0.0)


def co2(rng):
    noise, values, level, target = log_uniform(rng, 2, 15), np.empty(WINDOW), rng.uniform(430, 900), 0.0
    rate, left = rng.uniform(0.02, 0.15), 0
    for i in range(WINDOW):
        if left == 0:
            target, left = float(rng.choice([430, rng.uniform(700, 1800)])), int(rng.integers(12, 60))
        left -= 1
        level += rate * (target - level)
        values[i] = level
    return Signal(values + rng.normal(0, noise, WINDOW), noise, float(rng.choice([1, 1, 5])), 0.0)


def pressure(rng):
    noise = log_uniform(rng, 0.01, 0.12)
    slope = np.cumsum(rng.normal(0, 0.004, WINDOW)) + rng.normal(0, 0.05)
    return Signal(1013 + rng.normal(0, 9) + np.cumsum(slope) + rng.normal(0, noise, WINDOW), noise, 0.01, 300.0)


def tank(rng):
    noise, level, values = rng.uniform(0.05, 0.5), rng.uniform(30, 90), np.empty(WINDOW)
    use, filling = rng.uniform(0.1, 0.9), rng.uniform(2, 6)
    rising = False
    for i in range(WINDOW):
        rising = level < 25 or (rising and level < 92)
        level += filling if rising else -use * rng.gamma(3, 1 / 3)
        values[i] = level
    return Signal(values + rng.normal(0, noise, WINDOW), noise, float(rng.choice([0.1, 0.5])), 0.0)


SIGNALS = dict(
    temperature=temperature,
    humidity=humidity,
    soil=soil,
    power=power,
    counts=counts,
    co2=co2,
    pressure=pressure,
    tank=tank,
)


def quantise(values, resolution):
    return np.round(values / resolution) * resolution


def scales(signal):
    """What an anomaly has to stand out from: the noise, and the swing of the window."""
    low, high = np.percentile(signal.values, (5, 95))
    return max(signal.noise, 0.5 * signal.resolution), float(high - low)


def stands_out(rng, signal, noises, swings):
    noise, swing = scales(signal)
    return max(rng.uniform(*noises) * noise, rng.uniform(*swings) * swing)


def direction(rng, kind):
    """Counts only ever grow too large; the rest goes both ways."""
    return 1.0 if kind == "counts" else float(rng.choice([-1, 1]))


def spike(rng, kind, signal, present):
    size = stands_out(rng, signal, (7, 30), (0.8, 3))
    for _ in range(rng.integers(1, 4)):
        start = rng.integers(1, WINDOW - 2)
        length = 1 if rng.random() < 0.8 else 2
        signal.values[start : start + length] += direction(rng, kind) * size
        present[start : start + length] = True


def stuck(rng, kind, signal, present):
    start = int(rng.integers(8, 44))
    end = WINDOW if rng.random() < 0.7 else min(WINDOW, start + int(rng.integers(14, 30)))
    shown = quantise(signal.values[start:end], signal.resolution)
    # a reading that rests anyway is not stuck: nobody could tell
    if np.mean(np.diff(shown) != 0) < 0.6 or (kind == "counts" and shown[0] == 0):
        return False
    signal.values[start:end] = shown[0]
    return True


def drift(rng, kind, signal, present):
    start = rng.uniform(4, 34)
    course = np.maximum(POSITION - start, 0) / (WINDOW - start)
    course = course ** rng.uniform(0.9, 1.6)
    signal.values += direction(rng, kind) * stands_out(rng, signal, (8, 25), (1.3, 3.5)) * course


def dropout(rng, kind, signal, present):
    runs = int(rng.integers(1, 3))
    if kind == "counts" or rng.random() < 0.5:
        for _ in range(runs):
            length = int(rng.integers(8, 26) // runs) + 3
            start = int(rng.integers(2, WINDOW - length + 1))
            present[start : start + length] = False
        return True
    level = signal.floor
    _, swing = scales(signal)
    if abs(np.median(signal.values) - level) < 1.5 * swing + 8 * signal.noise:
        level = float(np.median(signal.values) - rng.uniform(3, 12) * (swing + 3 * signal.noise))
    for _ in range(runs):
        length = int(rng.integers(3, 14))
        start = int(rng.integers(2, WINDOW - length))
        signal.values[start : start + length] = level
    return True


def step(rng, kind, signal, present):
    start = int(rng.integers(8, 56))
    size = stands_out(rng, signal, (8, 25), (1.2, 3.5) if kind in ("power", "soil", "tank") else (0.9, 3))
    signal.values[start:] += direction(rng, kind) * size
    if kind == "counts":
        signal.values[start:] = rng.poisson(np.maximum(signal.values[start:], 0))


def noise_burst(rng, kind, signal, present):
    length = int(rng.integers(8, 26))
    start = int(rng.integers(2, WINDOW - length))
    noise, swing = scales(signal)
    size = rng.uniform(5, 14) * noise + 0.1 * swing
    signal.values[start : start + length] += rng.normal(0, size, length)
    if kind == "counts":
        signal.values[:] = np.abs(np.round(signal.values))


ANOMALIES = dict(spike=spike, stuck=stuck, drift=drift, dropout=dropout, step=step, noise_burst=noise_burst)


def missing(rng):
    """Losses that every radio link has: single readings, and gaps of at most three."""
    present = np.ones(WINDOW, bool)
    if rng.random() < 0.5:
        present &= rng.random(WINDOW) > rng.uniform(0, 0.12)
    if rng.random() < 0.2:
        start = rng.integers(0, WINDOW - 3)
        present[start : start + rng.integers(2, 4)] = False
    run = 0
    for i in range(WINDOW):  # chance made a longer one
        run = 0 if present[i] else run + 1
        if run > 3:
            present[i], run = True, 0
    return present


def other_unit(rng, values):
    """The same readings as another sensor would tell them: Fahrenheit, millivolts, raw steps of a converter."""
    factor = float(rng.choice([1, 1, 1.8, 0.001, 1000, log_uniform(rng, 1e-3, 1e3)]))
    if rng.random() < 0.08:
        factor = -factor
    return values * factor + float(rng.choice([0, 0, 32, 273.15, rng.normal(0, 100)])) * abs(factor)


def make_window(rng, kind, label):
    while True:
        signal, present = SIGNALS[kind](rng), missing(rng)
        if label == "normal" or ANOMALIES[label](rng, kind, signal, present) is not False:
            values = quantise(signal.values, signal.resolution)
            if kind == "counts":
                values = np.maximum(values, 0)
            return Window(kind, label, other_unit(rng, values), present)


def make_windows(seed, number, kinds=KINDS, normal_share=0.45):
    """`number` windows of `kinds` in turn; the share of normal ones as given, the anomalies in equal parts."""
    rng = np.random.Generator(np.random.PCG64(seed))
    windows = []
    for i in range(number):
        is_normal = rng.random() < normal_share
        label = "normal" if is_normal else CLASSES[1 + int(rng.integers(len(CLASSES) - 1))]
        windows.append(make_window(rng, kinds[i % len(kinds)], label))
    return windows


def as_arrays(windows):
    """The inputs of the model, and the classes. Missing readings are told as 0."""
    values = np.stack([np.where(w.present, w.values, 0) for w in windows]).astype(np.float32)
    mask = np.stack([w.present for w in windows]).astype(np.float32)
    return values, mask, np.array([CLASSES.index(w.label) for w in windows])
