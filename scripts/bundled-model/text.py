"""From documents to token ids: the chat template, the tokenizer, and which tokens the model is trained to say."""
from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import jinja2
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import document, house, words
from corpus.base import Document

HERE = Path(__file__).parent
TEMPLATE = (HERE / "template.jinja").read_text()
END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTROL = [END_OF_TEXT, START, END]
ANSWER = f"{START}assistant\n"
"""Ids 0 to 2. They are never printed."""
MARKUP = ["<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
"""One token each, and printed: the markup of tool calls is text of the answer."""
VOCABULARY = 3072
# `tokenizer.ggml.pre` "qwen2" in llama.cpp (llama-vocab.cpp): one token for each digit
PRE_TOKENIZER = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TRAINING_PRE_TOKENIZER = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|\p{Lu}?\p{Ll}+|\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s"
"""The same, with words apart from what stands before them."""
LEADING = 480
"""Tokens that are a word with what stands before it."""
SHORT_NAME = 4
"""Letters of a name that may be one token."""
QUIET = 0.05
"""Weight of tokens that the model reads and does not say."""

_environment = jinja2.Environment()
_environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
_template = _environment.from_string(TEMPLATE)


def render(doc: Document, upto: int | None = None) -> str:
    """The text of a document; of its first `upto` messages, ready for an answer, when given."""
    if doc.text is not None:
        return doc.text
    text = _template.render(messages=doc.messages[:upto], tools=doc.tools, add_generation_prompt=upto is not None)
    thought = doc.messages[-1].get("thought")
    if upto is not None or thought is None:
        return text
    # the template leaves thoughts out, as of earlier turns
    before, answer = text.rsplit(ANSWER, 1)
    return f"{before}{ANSWER}<think>\n{thought}\n</think>\n\n{answer}"


def train_tokenizer(seed: int, documents: int) -> Tokenizer:
    """Byte-level BPE over the first documents of the corpus, made so that a name is the same tokens wherever it stands.

    Merges are learnt inside words, without the space, quote or separator before them and not over the capitals of
    camelCase; after them comes a merge with what stands before for the commonest words that are no names. So "castle"
    is one and the same in " castle", "_castle" and ".castle", and copying a name into that of a tool is copying.
    """
    tokenizer = _bpe(TRAINING_PRE_TOKENIZER)
    texts = [_without_markup(render(document(seed, i))) for i in range(documents)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, min_frequency=2, special_tokens=_special(), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    made = json.loads(tokenizer.to_str())["model"]
    built = {"".join(merge) for merge in made["merges"]}
    vocabulary = [token for token, _ in sorted(made["vocab"].items(), key=lambda item: item[1]) if token not in built]
    counted = Counter(each for text in texts for each in re.findall(r"[a-z]+", text.lower()))
    names = _names(counted)
    merges = _take(vocabulary, _without(made["merges"], {part for name in names for part in (name, name.capitalize())}), VOCABULARY - LEADING)
    merges += _take(vocabulary, _leading(texts, set(vocabulary), names | house.place_words()), VOCABULARY)
    return tokenizer_of(vocabulary, merges)


def tokenizer_of(vocabulary: list[str], merges: list[list[str]]) -> Tokenizer:
    whole = _bpe(PRE_TOKENIZER)
    whole.model = models.BPE({token: i for i, token in enumerate(vocabulary)}, [tuple(merge) for merge in merges])
    special = _special()
    whole.add_special_tokens(special[: len(CONTROL)])
    whole.add_tokens(special[len(CONTROL) :])
    return whole


def _special() -> list[AddedToken]:
    return [AddedToken(each, special=each in CONTROL, normalized=False) for each in [*CONTROL, *MARKUP]]


def _bpe(pattern: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _names(counted: Counter[str]) -> set[str]:
    """Words for names, but for the short ones and those that are far commoner than a name: they have another use too."""
    listed = words.all_words()
    usual = sorted(counted[each] for each in listed)[len(listed) // 2]
    return {each for each in listed if len(each) > SHORT_NAME and counted[each] < 4 * usual}


def _take(vocabulary: list[str], merges: list[list[str]], size: int) -> list[list[str]]:
    """Merges until the vocabulary, to which it adds what they make, has that size."""
    known = set(vocabulary)
    taken = []
    for left, right in merges:
        if left + right not in known:
            if len(vocabulary) == size:
                break
            vocabulary.append(left + right)
            known.add(left + right)
        taken.append([left, right])
    return taken


def _without(merges: list[list[str]], names: set[str]) -> list[list[str]]:
    """Merges in their order, less those that make a whole name and those that build on them: a name that training has is to
    be of as many pieces as one that it has not."""
    gone: set[str] = set()
    kept = []
    for left, right in merges:
        if left in gone or right in gone or left + right in names:
            gone.add(left + right)
        else:
            kept.append([left, right])
            gone.discard(left + right)
    return kept


def _leading(texts: list[str], tokens: set[str], names: set[str]) -> list[list[str]]:
    """Merges of a word with the space, quote or bracket before it, the commonest first."""
    counted = Counter(each for text in texts for each in re.findall(r"[^\r\n\w.\-](?=[A-Za-z])[A-Za-z]+", text))
    pairs = [(each[0].replace(" ", "Ġ"), each[1:]) for each, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))]
    return [[before, word] for before, word in pairs if word in tokens and before in tokens and word.lower() not in names]


def _without_markup(text: str) -> str:
    for each in [*CONTROL, *MARKUP]:
        text = text.replace(each, "\n")
    return text


LENGTHS = 32
"""Rows are that long, or twice, or three times."""


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
            return ids, self._text_weights(doc, len(ids))
        weights = [QUIET] * len(ids)
        head, i = len(self._assistant), 0
        turns = iter([message for message in doc.messages if message["role"] == "assistant"])
        while i < len(ids):
            if ids[i] == self._start and ids[i + 1 : i + 1 + head] == self._assistant:
                i += 1 + head
                turn = next(turns)
                weight = QUIET if "thought" in turn and turn is not doc.messages[-1] else 1.0
                while ids[i] != self._end:
                    weights[i] = weight
                    i += 1
                weights[i] = weight
            i += 1
        return ids, weights

    def _text_weights(self, doc: Document, length: int) -> list[float]:
        if doc.learnt is None:
            return [1.0] * length
        weights = [QUIET] * length
        offsets = self._tokenizer.encode(doc.text).offsets
        for i, (begin, _) in enumerate(offsets):
            if any(first <= begin < last for first, last in doc.learnt):
                weights[i] = 1.0
        return weights


LONG_EVERY = 8
"""One of so many batches is a row of several documents: chats that go on are longer than any document."""
LONG_ROW = 1024


class Batches:
    """Rows for training, a document in each, those of about one length together: what comes first in a row is what comes first
    in a chat, and no attention is spent on other documents. A pure function of the seed, the first document and how many were
    made; `state` and `restore` carry on from any place."""

    def __init__(self, encoder: Encoder, seed: int, document: int, tokens: int):
        """`tokens`: most of a batch."""
        self._encoder, self._seed, self.document, self._tokens = encoder, seed, document, tokens
        self._made = 0
        self._waiting: dict[int, list[int]] = {}
        self._encoded: dict[int, tuple[list[int], list[float]]] = {}

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids and weights, rows by length + 1; behind the end of a document the weight is 0."""
        self._made += 1
        if self._made % LONG_EVERY == 0:
            return self._batch([self._long()], LONG_ROW)
        while True:
            length, count = self._put()
            if count == self._rows(length):
                return self._batch([[each] for each in self._waiting.pop(length)], length)

    def state(self) -> dict:
        return {"document": self.document, "made": self._made, "waiting": {length: list(their) for length, their in self._waiting.items()}}

    def restore(self, state: dict) -> None:
        self.document, self._made = state["document"], state["made"]
        self._waiting = {length: list(their) for length, their in state["waiting"].items()}

    def _rows(self, length: int) -> int:
        return max(1, self._tokens // length)

    def _put(self) -> tuple[int, int]:
        """Draws a document and puts it to those of its length; that length, and how many wait there."""
        index = self.document
        self.document += 1
        length = -(-(len(self._of(index)[0]) - 1) // LENGTHS) * LENGTHS
        their = self._waiting.setdefault(length, [])
        their.append(index)
        return length, len(their)

    def _long(self) -> list[int]:
        """Documents for one long row, from those that wait and then new ones."""
        row: list[int] = []
        left = LONG_ROW + 1
        while True:
            while not self._waiting:
                self._put()
            length = next(iter(self._waiting))
            size = len(self._of(self._waiting[length][0])[0])
            if size > left and row:
                return row
            row.append(self._waiting[length].pop(0))
            left -= size
            if not self._waiting[length]:
                del self._waiting[length]

    def _of(self, index: int) -> tuple[list[int], list[float]]:
        if index not in self._encoded:
            ids, weights = self._encoder(document(self._seed, index))
            # none is that long; a row could not hold it
            self._encoded[index] = ids[: LONG_ROW + 1], weights[: LONG_ROW + 1]
        return self._encoded[index]

    def _batch(self, rows: list[list[int]], length: int) -> tuple[np.ndarray, np.ndarray]:
        ids = np.zeros((len(rows), length + 1), dtype=np.int64)
        weights = np.zeros((len(rows), length + 1), dtype=np.float32)
        for i, row in enumerate(rows):
            place = 0
            for index in row:
                their_ids, their_weights = self._of(index)
                ids[i, place : place + len(their_ids)] = their_ids
                weights[i, place : place + len(their_ids)] = their_weights
                place += len(their_ids)
                del self._encoded[index]
        return ids, weights
