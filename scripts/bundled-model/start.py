"""A model to go on from: the weights and the tokenizer of a GGUF file that `export.py` wrote."""
from __future__ import annotations

from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer
from torch import Tensor

from export import NAMES
from text import tokenizer_of

_KEYS = {theirs: ours for ours, theirs in NAMES.items()}


def read(path: Path) -> tuple[dict[str, Tensor], Tokenizer]:
    """Weights by the names of `Llama`, of 8 bits each as they stand there, and the tokenizer."""
    reader = gguf.GGUFReader(path)
    weights = {_key(each.name): torch.from_numpy(gguf.quants.dequantize(each.data, each.tensor_type).copy()) for each in reader.tensors}
    tokens, merges = (reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges"))
    return weights, tokenizer_of(tokens, [merge.split(" ") for merge in merges])


def _key(name: str) -> str:
    if name in ("token_embd.weight", "output_norm.weight"):
        return {"token_embd.weight": "embedding.weight", "output_norm.weight": "norm.weight"}[name]
    _, layer, rest = name.split(".", 2)
    return f"blocks.{layer}.{_KEYS[rest.removesuffix('.weight')]}"
