"""Models to go on from: the weights and the tokenizers of GGUF files that `export.py` wrote."""
from __future__ import annotations

from collections.abc import Sequence
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


def mean(paths: Sequence[Path]) -> tuple[dict[str, Tensor], Tokenizer]:
    """
    The mean of the weights of models that came of each other: right more often than each of them, at the cost of one
    ("Model soups", Wortsman et al. 2022). Raises ValueError where they do not have the same tokens.
    """
    models = [read(path) for path in paths]
    tokenizer = models[0][1]
    if any(other.get_vocab() != tokenizer.get_vocab() for _, other in models):
        raise ValueError("the files have other tokenizers than each other: only cycles of one model can be averaged")
    return {key: sum(weights[key] for weights, _ in models) / len(models) for key in models[0][0]}, tokenizer


def _key(name: str) -> str:
    if name in ("token_embd.weight", "output_norm.weight"):
        return {"token_embd.weight": "embedding.weight", "output_norm.weight": "norm.weight"}[name]
    _, layer, rest = name.split(".", 2)
    return f"blocks.{layer}.{_KEYS[rest.removesuffix('.weight')]}"
