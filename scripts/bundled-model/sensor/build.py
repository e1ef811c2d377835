"""`python scripts/bundled-model/sensor/build.py`: generates, trains, measures, and writes the sensor model and its
evaluation set. The same seed gives the same bytes on the same processor."""

import argparse
import base64
import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from measure import auroc, rate_of_change, threshold_at, z_score  # noqa: E402
from network import SensorNetwork, to_onnx  # noqa: E402
from windows import CLASSES, KINDS, UNSEEN_KINDS, WINDOW, as_arrays, make_windows  # noqa: E402

VERSION = "1"
SEED = 20_240
STEPS, BATCH, RATE = 2600, 192, 2.5e-3
FALSE_ALARMS = 0.01
CALIBRATION = 12_000
EVALUATION, EVALUATION_UNSEEN = 1800, 600
MISSING = -32768

MEANING = """Anomalies in 64 readings of one sensor, in the order of time and at equal intervals.
values: readings in any unit, 0 where missing. mask: 1 where a reading is present, else 0.
anomaly: 0 to 1; above metadata.threshold about 1 in 100 normal windows lies.
probabilities: of the classes in metadata.classes; the first is the normal one. anomaly = 1 - probabilities[0]."""


def train(steps):
    torch.manual_seed(SEED)
    network = SensorNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.08)
    running, began = 0.0, time.time()
    for step in range(steps):
        values, mask, labels = as_arrays(make_windows(SEED + 1 + step, BATCH))
        loss = F.cross_entropy(network(torch.from_numpy(values), torch.from_numpy(mask)), torch.from_numpy(labels))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 99:
            print(f"step {step + 1} loss {running:.4f} after {time.time() - began:.0f} s", flush=True)
    return network


def compact(windows):
    """Windows as they stand in the evaluation set: 16-bit steps of each window's own range."""
    rows = []
    for window in windows:
        shown = window.values[window.present]
        low, high = float(shown.min()), float(shown.max())
        step = float(f"{(high - low) / 64_000 or 1:.8g}")
        offset = float(f"{(high + low) / 2:.9g}")
        steps = np.where(window.present, np.round((window.values - offset) / step), MISSING).astype("<i2")
        rows.append([window.kind, window.label, offset, step, base64.b64encode(steps.tobytes()).decode()])
    return rows


def expand(rows):
    """The inverse of `compact`, with 32-bit rounding as a caller in another language has it."""
    steps = np.stack([np.frombuffer(base64.b64decode(row[4]), "<i2") for row in rows])
    offsets, sizes = (np.array([row[i] for row in rows])[:, None] for i in (2, 3))
    mask = (steps != MISSING).astype(np.float32)
    values = np.where(steps != MISSING, offsets + steps * sizes, 0).astype(np.float32)
    return values, mask, np.array([CLASSES.index(row[1]) for row in rows])


def figures(name, scores, labels, threshold):
    normal = labels == 0
    found = {
        label: round(float((scores[labels == i] > threshold).mean()), 4) for i, label in enumerate(CLASSES) if i > 0
    }
    return {
        "of": name,
        "auroc": round(auroc(scores, ~normal), 4),
        "false_alarms": round(float((scores[normal] > threshold).mean()), 4),
        "recall": round(float((scores[~normal] > threshold).mean()), 4),
        "recall_of": found,
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=STEPS, help="fewer for a trial")
    arguments.add_argument("--out", type=Path, default=ROOT / "node/models/bundled/sensor")
    arguments.add_argument("--evaluation", type=Path, default=ROOT / "test/eval/bundled/sensor.json")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    began = time.time()
    network = train(options.steps).eval()
    trained = time.time() - began

    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = 1
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "model.onnx"
    metadata = {
        "name": "skein-sensor",
        "version": VERSION,
        "classes": json.dumps(CLASSES),
        "window": WINDOW,
        "false_alarms": FALSE_ALARMS,
        "threshold": 1,
        "meaning": MEANING,
    }

    def run(values, mask):
        session = onnxruntime.InferenceSession(str(path), session_options, providers=["CPUExecutionProvider"])
        return session.run(["anomaly", "probabilities"], {"values": values, "mask": mask})

    # the threshold is set on windows that neither the training nor the evaluation sees
    to_onnx(network, path, metadata, MEANING)
    values, mask, _ = as_arrays(make_windows(SEED - 1, CALIBRATION, normal_share=1))
    metadata["threshold"] = round(threshold_at(run(values, mask)[0], FALSE_ALARMS), 5)
    digest = to_onnx(network, path, metadata, MEANING)
    with torch.no_grad():
        expected = network(torch.from_numpy(values[:500]), torch.from_numpy(mask[:500])).softmax(1).numpy()
    difference = float(np.abs(run(values[:500], mask[:500])[1] - expected).max())
    assert difference < 1e-4, f"PyTorch and ONNX differ by {difference}"

    sets = {
        "seen": compact(make_windows(SEED - 2, EVALUATION, KINDS, 0.5)),
        "unseen": compact(make_windows(SEED - 3, EVALUATION_UNSEEN, UNSEEN_KINDS, 0.5)),
    }
    options.evaluation.parent.mkdir(parents=True, exist_ok=True)
    head = {
        "about": "Windows that no training saw, made by scripts/bundled-model/sensor/build.py. Reading = offset + step * size.",
        "columns": [
            "kind",
            "class",
            "offset",
            "size",
            f"64 steps, 16 bits, little-endian, base64; {MISSING} is missing",
        ],
    }
    lines = ",\n".join(
        f'"{name}": [\n' + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]"
        for name, rows in sets.items()
    )
    options.evaluation.write_text(json.dumps(head, indent=1)[:-2] + ",\n" + lines + "\n}\n")

    for name, rows in sets.items():
        values, mask, labels = expand(rows)
        scores, probabilities = run(values, mask)
        print(json.dumps({"set": name, **figures("model", scores, labels, metadata["threshold"])}))
        print(json.dumps({"class_accuracy": round(float((probabilities.argmax(1) == labels).mean()), 4)}))
        for baseline in (z_score, rate_of_change):
            by = baseline(values, mask)
            print(json.dumps(figures(baseline.__name__, by, labels, threshold_at(by[labels == 0], FALSE_ALARMS))))
    parameters = sum(p.numel() for p in network.parameters())
    print(
        f"threshold {metadata['threshold']}, {parameters} parameters, {path.stat().st_size} bytes, trained in {trained:.0f} s"
    )
    print(f"sha256 {digest} {path.name}")
    print(f"sha256 {hashlib.sha256(options.evaluation.read_bytes()).hexdigest()} {options.evaluation.name}")


if __name__ == "__main__":
    main()
