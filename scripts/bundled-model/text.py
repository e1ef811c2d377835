"""From documents to token ids: the chat template, the tokenizer, and which tokens the model is trained to say."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator

import jinja2
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import document
from corpus.base import Document

HERE = Path(__file__).parent
TEMPLATE = (HERE / "template.jinja").read_text()
END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTROL = [END_OF_TEXT, START, END]
"""Ids 0 to 2. They are never printed."""
MARKUP = ["<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
"""One token each, and printed: the markup of tool calls is text of the answer."""
VOCABULARY = 3072
# `tokenizer.ggml.pre` "qwen2" in llama.cpp (llama-vocab.cpp): one token for each digit
PRE_TOKENIZER = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QUIET = 0.1
"""Weight of tokens that the model reads and does not say."""

_environment = jinja2.Environment()
_environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
_template = _environment.from_string(TEMPLATE)


def render(doc: Document, upto: int | None = None) -> str:
    """The text of a document; of its first `upto` messages, ready for an answer, when given."""
    if doc.text is not None:
        return doc.text
    return _template.render(messages=doc.messages[:upto], tools=doc.tools, add_generation_prompt=upto is not None)


def train_tokenizer(seed: int, documents: int) -> Tokenizer:
    """Byte-level BPE over the first documents of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PRE_TOKENIZER), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(each, special=True, normalized=False) for each in CONTROL]
    special += [AddedToken(each, special=False, normalized=False) for each in MARKUP]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, min_frequency=2, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator((_without_markup(render(document(seed, i))) for i in range(documents)), trainer)
    return tokenizer


def _without_markup(text: str) -> str:
    for each in [*CONTROL, *MARKUP]:
        text = text.replace(each, "\n")
    return text


class Encoder:
    """Documents as ids and weights."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._end_of_text, self._start, self._end = (tokenizer.token_to_id(each) for each in CONTROL)
        self._assistant = tokenizer.encode("assistant\n").ids

    def __call__(self, doc: Document) -> tuple[list[int], list[float]]:
        """Ids that end with the end of text, and for each id the weight of predicting it."""
        ids = self._tokenizer.encode(render(doc)).ids + [self._end_of_text]
        if doc.text is not None:
            return ids, [1.0] * len(ids)
        weights = [QUIET] * len(ids)
        head, i = len(self._assistant), 0
        while i < len(ids):
            if ids[i] == self._start and ids[i + 1 : i + 1 + head] == self._assistant:
                i += 1 + head
                while ids[i] != self._end:
                    weights[i] = 1.0
                    i += 1
                weights[i] = 1.0
            i += 1
        return ids, weights


def rows(encoder: Encoder, seed: int, first: int, length: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Rows of `length + 1` ids and weights, documents one behind the other from document `first`; and the next document."""
    ids: list[int] = []
    weights: list[float] = []
    index = first
    while True:
        while len(ids) < length + 1:
            more, their = encoder(document(seed, index))
            index += 1
            ids += more
            weights += their
        yield np.array(ids[: length + 1], dtype=np.int64), np.array(weights[: length + 1], dtype=np.float32), index
        # a row begins with the beginning of a document: what it cannot end is cut, not carried over
        ids, weights = [], []
