"""The sensor network twice: as PyTorch for the training, and as an ONNX graph. Whoever changes one changes both; the
build compares their answers.

Readings of any unit come in. The median of the present ones is taken away and their usual deviation divided by, so that
no statistics of the sensor are needed; what the network sees is the same for °C, °F and raw steps of a converter.
"""

import numpy as np
import torch
from onnx import TensorProto
from torch import nn
from torch.nn import functional as F
from windows import CLASSES, WINDOW

from onnx_graph import Graph

CHANNELS = 40
DILATIONS = (1, 2, 4, 8, 16, 1)
FEATURES = 9
# above every reading that is taken; readings beyond the limit, and NaN, count as missing
LAST, LIMIT = 3e38, 1e15


def median(values, valid):
    """Lower median of the valid values, 0 where none is."""
    ordered = torch.where(valid, values, LAST).sort(1).values
    middle = torch.floor((valid.sum(1, keepdim=True).float() - 1) / 2)
    return torch.where(torch.arange(WINDOW) == middle, ordered, 0.0).sum(1, keepdim=True)


def usual(deviation, valid):
    """The usual size of deviations: their median, unless most are 0; 1 when all are 0."""
    mean = torch.where(valid, deviation, 0.0).sum(1, keepdim=True) / valid.sum(1, keepdim=True).float().clamp(min=1)
    size = torch.maximum(1.4826 * median(deviation, valid), 0.25 * mean)
    return torch.where(size > 0, size, 1.0)


def signed_log(values):
    return torch.sign(values) * torch.log(1 + values.abs())


def features(values, mask):
    """[batch, 9, 64]: the reading, logarithmic and clipped; the change; unchanged?; present?; both present?; how rough
    the signal is; the position; the share of present readings."""
    valid = (mask > 0.5) & (values.abs() < LIMIT)
    clean = torch.where(valid, values, 0.0)
    centred = torch.where(valid, clean - median(clean, valid), 0.0)
    scale = usual(centred.abs(), valid)
    reading = centred / scale
    before, valid_before = F.pad(clean[:, :-1], (1, 0)), F.pad(valid[:, :-1], (1, 0))
    both = valid & valid_before
    change = torch.where(both, clean - before, 0.0)
    change_scale = usual(change.abs(), both)
    rough = torch.log(change_scale / scale).clamp(-6, 6) / 3
    ones = torch.ones_like(clean)
    return torch.stack(
        [
            signed_log(reading),
            reading.clamp(-6, 6) / 3,
            signed_log(change / change_scale),
            (both & (change == 0)).float(),
            valid.float(),
            both.float(),
            rough * ones,
            torch.linspace(-1, 1, WINDOW) * ones,
            valid.float().mean(1, keepdim=True) * ones,
        ],
        1,
    )


class SensorNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(FEATURES, CHANNELS, 5, padding=2)
        self.wide = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, 3, padding=d, dilation=d) for d in DILATIONS)
        self.mix = nn.ModuleList(nn.Conv1d(CHANNELS, CHANNELS, 1) for _ in DILATIONS)
        self.hidden = nn.Linear(2 * CHANNELS, 64)
        self.head = nn.Linear(64, len(CLASSES))
        for layer in self.mix:  # a block begins by changing little
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, values, mask):
        """The logarithm of the odds of each class."""
        x = F.relu(self.stem(features(values, mask)))
        for wide, mix in zip(self.wide, self.mix):
            x = x + mix(F.relu(wide(x)))
        pooled = torch.cat([x.mean(2), x.amax(2)], 1)
        return self.head(F.relu(self.hidden(pooled)))


def median_node(g, values, valid, count):
    ordered = g.op(
        "TopK",
        g.op("Where", valid, values, np.float32(LAST)),
        np.array([WINDOW], np.int64),
        axis=1,
        largest=0,
        outputs=2,
    )[0]
    middle = g.op("Floor", g.op("Div", g.op("Sub", count, np.float32(1)), np.float32(2)))
    is_middle = g.op("Equal", np.arange(WINDOW, dtype=np.float32)[None], middle)
    return g.op("ReduceSum", g.op("Where", is_middle, ordered, np.float32(0)), np.array([1], np.int64), keepdims=1)


def usual_node(g, deviation, valid, count):
    total = g.op("ReduceSum", g.op("Where", valid, deviation, np.float32(0)), np.array([1], np.int64), keepdims=1)
    mean = g.op("Div", total, g.op("Max", count, np.float32(1)))
    median = median_node(g, deviation, valid, count)
    size = g.op("Max", g.op("Mul", median, np.float32(1.4826)), g.op("Mul", mean, np.float32(0.25)))
    return g.op("Where", g.op("Greater", size, np.float32(0)), size, np.float32(1))


def signed_log_node(g, value):
    return g.op("Mul", g.op("Sign", value), g.op("Log", g.op("Add", g.op("Abs", value), np.float32(1))))


def clip_node(g, value, limit):
    return g.op("Clip", value, np.float32(-limit), np.float32(limit))


def features_node(g, values, mask):
    number = lambda flag: g.op("Cast", flag, to=TensorProto.FLOAT)
    count_of = lambda flags: g.op("ReduceSum", flags, np.array([1], np.int64), keepdims=1)
    choose = lambda flag, value: g.op("Where", flag, value, np.float32(0))
    shift = lambda value: g.op(
        "Pad",
        g.op("Slice", value, np.array([0]), np.array([WINDOW - 1]), np.array([1])),
        np.array([0, 1, 0, 0]),
        np.float32(0),
    )
    valid = g.op("And", g.op("Greater", mask, np.float32(0.5)), g.op("Less", g.op("Abs", values), np.float32(LIMIT)))
    is_valid = number(valid)
    count = count_of(is_valid)
    clean = choose(valid, values)
    centred = choose(valid, g.op("Sub", clean, median_node(g, clean, valid, count)))
    scale = usual_node(g, g.op("Abs", centred), valid, count)
    reading = g.op("Div", centred, scale)
    both = g.op("And", valid, g.op("Greater", shift(is_valid), np.float32(0.5)))
    is_both = number(both)
    change = choose(both, g.op("Sub", clean, shift(clean)))
    change_scale = usual_node(g, g.op("Abs", change), both, count_of(is_both))
    rough = g.op("Div", clip_node(g, g.op("Log", g.op("Div", change_scale, scale)), 6), np.float32(3))
    ones = g.op("Add", g.op("Mul", is_valid, np.float32(0)), np.float32(1))
    planes = [
        signed_log_node(g, reading),
        g.op("Div", clip_node(g, reading, 6), np.float32(3)),
        signed_log_node(g, g.op("Div", change, change_scale)),
        number(g.op("And", both, g.op("Equal", change, np.float32(0)))),
        is_valid,
        is_both,
        g.op("Mul", rough, ones),
        g.op("Mul", torch.linspace(-1, 1, WINDOW).numpy()[None], ones),
        g.op("Mul", g.op("Div", count, np.float32(WINDOW)), ones),
    ]
    axis = np.array([1], np.int64)
    return g.op("Concat", *[g.op("Unsqueeze", plane, axis) for plane in planes], axis=1)


def to_onnx(network, path, metadata, doc):
    """Writes the network with its normalisation; returns the sha256 of the file."""
    g = Graph("skein-sensor")
    values = g.input("values", TensorProto.FLOAT, ["batch", WINDOW])
    mask = g.input("mask", TensorProto.FLOAT, ["batch", WINDOW])
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}

    def conv(name, x, kernel, dilation=1):
        pad = dilation * (kernel - 1) // 2
        w, b = (g.constant(weights[f"{name}.{part}"], f"{name}.{part}") for part in ("weight", "bias"))
        return g.op("Conv", x, w, b, kernel_shape=[kernel], pads=[pad, pad], dilations=[dilation])

    def linear(name, x):
        w, b = (g.constant(weights[f"{name}.{part}"], f"{name}.{part}") for part in ("weight", "bias"))
        return g.op("Gemm", x, w, b, transB=1)

    x = g.op("Relu", conv("stem", features_node(g, values, mask), 5))
    for i, dilation in enumerate(DILATIONS):
        x = g.op("Add", x, conv(f"mix.{i}", g.op("Relu", conv(f"wide.{i}", x, 3, dilation)), 1))
    pooled = g.op(
        "Concat", g.op("ReduceMean", x, axes=[2], keepdims=0), g.op("ReduceMax", x, axes=[2], keepdims=0), axis=1
    )
    probabilities = g.op("Softmax", linear("head", g.op("Relu", linear("hidden", pooled))), axis=1)
    normal = g.op("Slice", probabilities, np.array([0]), np.array([1]), np.array([1]))
    anomaly = g.op("Sub", np.float32(1), g.op("Squeeze", normal, np.array([1])))
    g.output("anomaly", anomaly, ["batch"])
    g.output("probabilities", probabilities, ["batch", len(CLASSES)])
    return g.save(path, metadata, doc)
