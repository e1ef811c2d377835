"""The network: llama's architecture as llama.cpp computes it (rotary embedding over neighbouring pairs, SwiGLU, RMS norms,
grouped queries), embeddings tied to the output."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 3072
    width: int = 192
    layers: int = 6
    heads: int = 3
    kv_heads: int = 3
    hidden: int = 512
    context: int = 2048
    rope_base: float = 1_000_000_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads


SPREAD = 0.5
"""Standard deviation of embeddings at the start."""
CONSTANT = 2.5
"""What each embedding has in its first place: heads that look at distance alone need something that all tokens have."""
NAMED, BEFORE_THAT, BEFORE = slice(1, 65), slice(65, 128), slice(128, 192)
"""Places of the stream by which copying knows a token (as many as a head is wide), and where those before it are noted."""
SLOW = 44
"""Places of a head that turn by less than a sixth of a radian over 100 tokens, at this shape's `rope_base`."""
LOOK_BACK, LOOK_BACK_PAIRS = 6.3, 4
"""Sharpness of looking at a token behind: 98 % of the attention."""
LOOK_UP = 2.2
"""Sharpness of finding a token again: its score is 19 among 500 others of 0 with a deviation of 3."""
LOOK_UP_PAIR = 3.0
"""The same for a pair of tokens: 14, with 7 for one of the two."""
COPYING_LAYER = 2
COPYING = [[(NAMED, BEFORE), (BEFORE, BEFORE_THAT)], [(NAMED, BEFORE), (BEFORE, BEFORE_THAT)], [(NAMED, BEFORE)]]
"""The layer that copies from the start, and what its heads compare. One layer: what it says would be looked for by a later one."""


def _width(places: slice) -> int:
    return places.stop - places.start


class RmsNorm(nn.Module):
    def __init__(self, width: int, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


def rotary(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    half = shape.head_width // 2
    angles = torch.outer(torch.arange(length).float(), shape.rope_base ** (-torch.arange(half).float() / half))
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x`: batch, heads, length, head width. Pairs are neighbours (llama.cpp's "norm" type)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Block(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        kv = shape.kv_heads * shape.head_width
        self.attn_norm = RmsNorm(shape.width, shape.epsilon)
        self.q = nn.Linear(shape.width, shape.width, bias=False)
        self.k = nn.Linear(shape.width, kv, bias=False)
        self.v = nn.Linear(shape.width, kv, bias=False)
        self.o = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_norm = RmsNorm(shape.width, shape.epsilon)
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        s = self.shape
        h = self.attn_norm(x)
        q = self.q(h).view(batch, length, s.heads, s.head_width).transpose(1, 2)
        k = self.k(h).view(batch, length, s.kv_heads, s.head_width).transpose(1, 2)
        v = self.v(h).view(batch, length, s.kv_heads, s.head_width).transpose(1, 2)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        k, v = (each.repeat_interleave(s.heads // s.kv_heads, dim=1) for each in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, length, s.width))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.width, shape.epsilon)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=SPREAD if "embedding" in name else weight.shape[1] ** -0.5)
        self._begin_with_copying()

    @torch.no_grad()
    def _begin_with_copying(self) -> None:
        """Weights that can copy before anything is learnt (Olsson and others, "In-context learning and induction heads", 2022,
        as a start; the thought of Trockman and Kolter, "Mimetic initialization", 2023).

        Two heads of the first layer look at the token before and at the one before that, and note them; heads of later layers
        look for the place that has the token of now noted (or this one and the one before it: a digit alone stands in many
        places), and say what stands there. A chat with a household is mostly that: a name or a number, taken over piece by
        piece. From random weights three million tokens of training did not find it. What the blocks add begins at nothing
        otherwise, so that tokens stay what they are until there is something to say about them.
        """
        self.norm.weight.fill_(0.12)
        embedding = self.embedding.weight
        embedding[:, NAMED.stop :] *= 0.1
        embedding[:, 0] = CONSTANT
        for block in self.blocks:
            block.o.weight.zero_()
            block.down.weight.zero_()
        size = embedding.square().mean().sqrt().item()
        for head, (distance, noted) in enumerate([(1, BEFORE), (2, BEFORE_THAT)]):
            self._look_back(head, distance, CONSTANT / size, SPREAD / size, noted)
        # now with what the first layer noted
        size = math.sqrt(size**2 + SPREAD**2 * (_width(BEFORE) + _width(BEFORE_THAT)) / self.shape.width)
        for head, pairs in enumerate(COPYING):
            self._look_up(head, pairs, SPREAD / size)

    def _look_back(self, head: int, distance: int, constant: float, spread: float, noted: slice) -> None:
        """Queries and keys that are the same for each token, that many steps of rotation apart."""
        width, block = self.shape.head_width, self.blocks[0]
        rows = slice(head * width, (head + 1) * width)
        block.q.weight[rows] *= 0.1
        block.k.weight[rows] *= 0.1
        for pair in range(LOOK_BACK_PAIRS):
            angle = distance * self.shape.rope_base ** (-2 * pair / width)
            block.q.weight[rows.start + 2 * pair, 0] = LOOK_BACK / constant
            block.k.weight[rows.start + 2 * pair, 0] = LOOK_BACK / constant * math.cos(angle)
            block.k.weight[rows.start + 2 * pair + 1, 0] = LOOK_BACK / constant * math.sin(angle)
        taken = _width(noted)
        block.v.weight[rows] = 0
        block.v.weight[rows.start : rows.start + taken, NAMED.start : NAMED.start + taken] = torch.eye(taken) / spread
        block.o.weight[noted, rows.start : rows.start + taken] = torch.eye(taken) * SPREAD

    def _look_up(self, head: int, pairs: list[tuple[slice, slice]], spread: float) -> None:
        """Compares each of `pairs`, what there is now and what is noted there, in the places that rotate so slowly that distance
        hardly matters; the second head other parts of them than the first."""
        width, block = self.shape.head_width, self.blocks[COPYING_LAYER]
        rows = slice(head * width, (head + 1) * width)
        block.q.weight[rows] *= 0.1
        block.k.weight[rows] *= 0.1
        share = SLOW // len(pairs)
        sharpness = (LOOK_UP if len(pairs) == 1 else LOOK_UP_PAIR) / spread
        place = rows.stop - SLOW
        for now, there in pairs:
            first = (head % 2) * (min(_width(now), _width(there)) - share)
            for i in range(first, first + share):
                block.q.weight[place, now.start + i] = sharpness
                block.k.weight[place, there.start + i] = sharpness
                place += 1
        taken = _width(NAMED)
        block.v.weight[rows] = 0
        block.v.weight[rows, NAMED] = torch.eye(taken) / spread
        block.o.weight[NAMED, rows] = torch.eye(taken) * SPREAD

    def forward(self, ids: Tensor, looked_at: Tensor) -> Tensor:
        """Logits of the places `looked_at` (indices into the flattened ids), places by vocabulary."""
        cos, sin = rotary(self.shape, ids.shape[1])
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, cos, sin)
        return F.linear(self.norm(x.flatten(0, 1)[looked_at]), self.embedding.weight)

    @property
    def parameters_count(self) -> int:
        return sum(weight.numel() for weight in self.parameters())
