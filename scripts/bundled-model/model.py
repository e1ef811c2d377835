"""The network: llama's architecture as llama.cpp computes it (rotary embedding over neighbouring pairs, SwiGLU, RMS norms,
grouped queries), embeddings tied to the output."""
from __future__ import annotations

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
    rope_base: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads


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
                scale = 0.02 if "embedding" in name else weight.shape[1] ** -0.5
                if name.endswith(("o.weight", "down.weight")):
                    scale /= (2 * shape.layers) ** 0.5
                nn.init.normal_(weight, std=scale)

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
