"""The embedding network twice: as PyTorch for the training, and as an ONNX graph. Whoever changes one changes both; the
build compares their answers.

A vector has two parts. The first is meaning: token vectors, mixed with their neighbours by two small layers, weighed
and averaged. The second is wording: each whole word, known or not, has a signature that a hash of its tokens decides
(no table: 65,536 words would not fit), and these are weighed and added. So a name or a code that no training saw still
finds itself, while synonyms meet in the first part. How much that counts is decided text by text."""

import numpy as np
import torch
from onnx import TensorProto
from onnx_graph import Graph
from torch import nn
from torch.nn import functional as F

HIDDEN, INNER, MEANING, WORDING = 192, 384, 96, 160
LAYERS, KERNEL = 2, 5
HASHES = 65_536
# of a longer word the rest counts as one place: a sum below 2^24 is exact in 32-bit floats
PLACES = 16
EPSILON = 1e-6


def hash_tables(vocabulary, seed):
    """Numbers of tokens (< 2^12), of places in a word (odd, < 2^8), and the waves of the signature."""
    rng = np.random.Generator(np.random.PCG64(seed))
    numbers = rng.integers(1, 4096, vocabulary).astype(np.float32)
    places = (rng.integers(0, 128, PLACES) * 2 + 1).astype(np.float32)
    waves = rng.integers(0, HASHES // 2, WORDING) * 2 + 1
    phases = rng.integers(0, HASHES, WORDING)
    return numbers, places, waves.astype(np.int64), phases.astype(np.int64)


class EmbeddingNetwork(nn.Module):
    def __init__(self, starts, seed):
        super().__init__()
        numbers, places, waves, phases = hash_tables(len(starts), seed)
        for name, table in dict(
            starts=np.array(starts, np.float32), numbers=numbers, places=places, waves=waves, phases=phases
        ).items():
            self.register_buffer(name, torch.from_numpy(table))
        self.tokens = nn.Embedding(len(starts), HIDDEN)
        nn.init.normal_(self.tokens.weight, std=0.3)
        self.weights = nn.Embedding(len(starts), 1)
        nn.init.zeros_(self.weights.weight)
        self.norms = nn.ModuleList(nn.LayerNorm(HIDDEN) for _ in range(LAYERS))
        self.near = nn.ModuleList(
            nn.Conv1d(HIDDEN, HIDDEN, KERNEL, padding=KERNEL // 2, groups=HIDDEN) for _ in range(LAYERS)
        )
        self.up = nn.ModuleList(nn.Linear(HIDDEN, INNER) for _ in range(LAYERS))
        self.down = nn.ModuleList(nn.Linear(INNER, HIDDEN) for _ in range(LAYERS))
        for layer in self.down:
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.last = nn.LayerNorm(HIDDEN)
        # meaning of a token, its weight there, and its weight in the wording
        self.meaning = nn.Linear(HIDDEN, MEANING, bias=False)
        self.gates = nn.Linear(HIDDEN, 2)
        self.balance = nn.Linear(HIDDEN, 1)

    def same_word(self, ids, mask):
        """[batch, length, length]: are both tokens of one word? And which tokens begin one."""
        begins = self.starts[ids] * mask
        word = begins.cumsum(1)
        same = (word[:, :, None] == word[:, None, :]).float() * mask[:, :, None] * mask[:, None, :]
        return same, begins

    def signature(self, ids, same, begins):
        place = (same.tril().sum(2) - 1).clamp(0, PLACES - 1).long()
        summed = same @ (self.numbers[ids] * self.places[place])[:, :, None]
        angle = (summed.long() * self.waves + self.phases) % HASHES
        return torch.cos(angle.float() * (2 * np.pi / HASHES)) * begins[:, :, None]

    def forward(self, ids, mask):
        mask = mask.float()
        same, begins = self.same_word(ids, mask)
        with torch.no_grad():
            signature = self.signature(ids, same, begins)
        x = self.tokens(ids)
        for norm, near, up, down in zip(self.norms, self.near, self.up, self.down):
            y = norm(x) * mask[:, :, None]
            x = x + down(F.relu(up(near(y.transpose(1, 2)).transpose(1, 2))))
        x = self.last(x)
        weights = F.softplus(self.gates(x) + self.weights(ids))
        first = weights[:, :, 0] * mask
        meaning = (self.meaning(x) * first[:, :, None]).sum(1)
        # a word weighs what its tokens weigh on the average
        of_word = (same @ weights[:, :, 1:])[:, :, 0] / same.sum(2).clamp(min=1)
        wording = (signature * of_word[:, :, None]).sum(1)
        middle = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        share = F.softplus(self.balance(middle))
        both = torch.cat([share * unit(meaning), unit(wording)], 1)
        return unit(both)


def unit(vectors):
    return vectors / torch.sqrt((vectors * vectors).sum(1, keepdim=True) + EPSILON)


def to_onnx(network, path, metadata, doc):
    """Writes the network, its weights in 16 bits; returns the sha256 of the file."""
    g = Graph("skein-embedding")
    ids = g.input("input_ids", TensorProto.INT64, ["batch", "length"])
    given = g.input("attention_mask", TensorProto.INT64, ["batch", "length"])
    state = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    half = {
        name: g.half(state[name], name)
        for name in state
        if name.split(".")[0] not in ("starts", "numbers", "places", "waves", "phases")
    }
    axis = lambda *axes: np.array(axes, np.int64)
    widen = lambda value, at: g.op("Unsqueeze", value, axis(at))
    total = lambda value, at, keep=0: g.op("ReduceSum", value, axis(at), keepdims=keep)
    softplus = lambda value: g.op("Softplus", value)

    def linear(name, x, bias=True):
        w = g.op("Transpose", half[f"{name}.weight"], perm=[1, 0])
        y = g.op("MatMul", x, w)
        return g.op("Add", y, half[f"{name}.bias"]) if bias else y

    def norm(name, x):
        return g.op("LayerNormalization", x, half[f"{name}.weight"], half[f"{name}.bias"], axis=-1, epsilon=1e-5)

    def unit_node(x):
        length = g.op("Sqrt", g.op("Add", total(g.op("Mul", x, x), 1, 1), np.float32(EPSILON)))
        return g.op("Div", x, length)

    mask = g.op("Cast", given, to=TensorProto.FLOAT)
    wide_mask = widen(mask, 2)
    begins = g.op("Mul", g.op("Gather", g.constant(state["starts"], "starts"), ids), mask)
    word = g.op("CumSum", begins, np.int64(1))
    equal = g.op("Cast", g.op("Equal", widen(word, 2), widen(word, 1)), to=TensorProto.FLOAT)
    same = g.op("Mul", g.op("Mul", equal, wide_mask), widen(mask, 1))

    before = total(g.op("Trilu", same, upper=0), 2)
    place = g.op(
        "Cast",
        g.op("Clip", g.op("Sub", before, np.float32(1)), np.float32(0), np.float32(PLACES - 1)),
        to=TensorProto.INT64,
    )
    numbered = g.op(
        "Mul",
        g.op("Gather", g.constant(state["numbers"], "numbers"), ids),
        g.op("Gather", g.constant(state["places"], "places"), place),
    )
    summed = g.op("Cast", g.op("MatMul", same, widen(numbered, 2)), to=TensorProto.INT64)
    angle = g.op(
        "Mod",
        g.op("Add", g.op("Mul", summed, g.constant(state["waves"], "waves")), g.constant(state["phases"], "phases")),
        np.int64(HASHES),
    )
    turned = g.op("Mul", g.op("Cast", angle, to=TensorProto.FLOAT), np.float32(2 * np.pi / HASHES))
    signature = g.op("Mul", g.op("Cos", turned), widen(begins, 2))

    x = g.op("Gather", half["tokens.weight"], ids)
    for i in range(LAYERS):
        y = g.op("Transpose", g.op("Mul", norm(f"norms.{i}", x), wide_mask), perm=[0, 2, 1])
        pad = KERNEL // 2
        y = g.op(
            "Conv",
            y,
            half[f"near.{i}.weight"],
            half[f"near.{i}.bias"],
            kernel_shape=[KERNEL],
            pads=[pad, pad],
            group=HIDDEN,
        )
        y = g.op("Relu", linear(f"up.{i}", g.op("Transpose", y, perm=[0, 2, 1])))
        x = g.op("Add", x, linear(f"down.{i}", y))
    x = norm("last", x)
    weights = softplus(g.op("Add", linear("gates", x), g.op("Gather", half["weights.weight"], ids)))
    first, second = g.op("Split", weights, axis(1, 1), axis=2, outputs=2)
    meaning = total(g.op("Mul", linear("meaning", x, bias=False), g.op("Mul", first, wide_mask)), 1)
    size = g.op("Max", total(same, 2, 1), np.float32(1))
    of_word = g.op("Div", g.op("MatMul", same, second), size)
    wording = total(g.op("Mul", signature, of_word), 1)
    count = g.op("Max", total(mask, 1, 1), np.float32(1))
    share = softplus(linear("balance", g.op("Div", total(g.op("Mul", x, wide_mask), 1), count)))
    both = g.op("Concat", g.op("Mul", share, unit_node(meaning)), unit_node(wording), axis=1)
    g.output("sentence_embedding", unit_node(both), ["batch", MEANING + WORDING])
    return g.save(path, metadata, doc)
