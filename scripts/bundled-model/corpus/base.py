"""What all skills share: seeded choices, the split into training and held-out material, and the shape of a document.

A skill is a function `(draw: Draw) -> Document`. Everything that varies comes from `draw`; with `draw.held` it takes names,
numbers and phrasings that no training document has.
"""
from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Sequence, TypeVar

from .lists import PIECES
from .pieces import PARTS, RARE, TOKENS

T = TypeVar("T")


@dataclass
class Document:
    """A chat in the shape of chat templates, or plain text when `text` is set."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    text: str | None = None
    learnt: list[tuple[int, int]] | None = None
    """Of `text` the places (first and behind the last character) that are learnt in full; all of it when not set."""
    """What a held-out case is checked by: see `heldout.py`."""
    check: dict[str, Any] = field(default_factory=dict)
    _thought: str = ""

    def system(self, content: str) -> "Document":
        self.messages.append({"role": "system", "content": content})
        return self

    def user(self, content: str) -> "Document":
        self.messages.append({"role": "user", "content": content})
        return self

    def say(self, content: str) -> "Document":
        return self._answer({"role": "assistant", "content": content})

    def think(self, thought: str) -> "Document":
        """What the assistant thinks before its next turn. It is seen where that turn is the last, as in a chat: `for_training`."""
        self._thought = thought
        return self

    def for_training(self, draw: "Draw") -> "Document":
        """With one thought, behind which the document ends, or with none: what was thought of earlier turns is not in a chat.
        Turns that want a thought and are without it are read and not learnt."""
        thoughtful = [i for i, message in enumerate(self.messages) if "thought" in message]
        if thoughtful and draw.chance(0.7):
            self.messages = self.messages[: draw.one(thoughtful) + 1]
        return self

    def call(self, *calls: tuple[str, dict[str, Any]]) -> "Document":
        made = [{"type": "function", "function": {"name": name, "arguments": arguments}} for name, arguments in calls]
        return self._answer({"role": "assistant", "content": "", "tool_calls": made})

    def _answer(self, message: dict[str, Any]) -> "Document":
        if self._thought:
            message["thought"], self._thought = self._thought, ""
        self.messages.append(message)
        return self

    def result(self, content: str) -> "Document":
        self.messages.append({"role": "tool", "content": content})
        return self


class Draw(random.Random):
    """Seeded choices. `held`: take what training never sees."""

    def __init__(self, seed: str | int, held: bool = False):
        super().__init__(seed)
        self.held = held
        self.style: float | None = None
        """How the owner of this document names tools (`toolbox.py`); drawn for each tool when not set."""
        self.steps = False
        """Answers say what they follow from, step by step: which numbers, how they stand to each other, what was asked."""

    def one(self, options: Sequence[T]) -> T:
        return options[int(self.random() * len(options))]

    def split(self, train: Sequence[T], held: Sequence[T]) -> T:
        return self.one(held if self.held else train)

    def vary(self, fixed: T, train: Sequence[T]) -> T:
        """One of `train`; `fixed` in a held-out case, and then nothing is drawn."""
        return fixed if self.held else self.one(train)

    def chance(self, share: float) -> bool:
        return self.random() < share

    def whole(self, low: int, high: int) -> int:
        return low + int(self.random() * (high - low + 1))

    def some(self, options: Sequence[T], count: int) -> list[T]:
        return self.sample(list(options), count)

    def made_up(self, can_be_said: bool = False) -> str:
        """A name that is in no list, so that copying is learnt and not the list. One in five is held out. `can_be_said`: of
        syllables, for names that nobody gave and that must be made up by who answers."""
        while True:
            if self.steps and not can_be_said and self.chance(0.8):
                name = self._of_pieces()
                if sum(name.encode()) % 5 != 0:
                    return name
                continue
            syllables = [self.one("bcdfghjklmnprstvwz") + self.one("aeiou") + self.one(["", "", "n", "r", "l", "s", "m", "t"]) for _ in range(self.whole(1, 3))]
            name = "".join(syllables)
            if len(name) > 2 and (sum(name.encode()) % 5 == 0) == self.held:
                return name

    def _of_pieces(self) -> str:
        """Tokens, or pieces of words, one behind the other: so each token of letters is copied, and not only those of the usual
        syllables."""
        if self.chance(0.8):
            count = self.one([1, 1, 2, 2, 3])
            made = "".join(self.one(self._pieces(count)) for _ in range(count))
            return made if len(made) > 2 else self._of_pieces()
        made = ""
        for _ in range(self.one([1, 2, 2, 2, 3])):
            word = self.one(PIECES)
            begin = self.whole(0, max(0, len(word) - 3))
            made += word[begin : begin + self.whole(2, 6)]
        return made if len(made) > 2 else self._of_pieces()

    def _pieces(self, count: int) -> Sequence[str]:
        """What a piece of a name of so many is one of."""
        if self.chance(0.4):
            return TOKENS
        return PARTS if count > 1 and self.chance(0.25) else RARE


def function(name: str, description: str, properties: dict[str, Any] | None = None, required: Sequence[str] | None = None) -> dict[str, Any]:
    """A tool as OpenAI's API has it. All properties are required when `required` is not given."""
    properties = properties or {}
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    names = list(properties) if required is None else list(required)
    if names:
        parameters["required"] = names
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def sentence(text: str) -> str:
    """With a capital at its start."""
    return text[:1].upper() + text[1:]


BEFORE = (
    ["Hey, ", "OK, ", "Skein, ", "Hi! ", "So, ", "Now: ", "Quick question: ", "One more: ", "Well, ", "Hello, ", "Hey Skein, ", "Hi Skein, ", "Hello Skein, ", "Now, ",
     "Next: ", "Ah, ", "Oh, ", "Hmm, ", "And also: ", "All right, ", "Listen to this: ", "Good morning. ", "Good. ", "Fine, ", "Then: ", "First: ", "Sorry, ",
     "A question: ", "Another thing: ", "Yes, ", "Look, ", "Excuse me, ", "Thank you. ", "If you can: ", "By the way, ", "Um, ", "My friend, ", "Dear Skein, ", "OK so ", "Hello! "],
    ["Listen, ", "Right, ", "Hm, ", "Also, "],
)
AFTER = ([", please", " please", ", thanks", ", Skein", ", my friend", " cheers", ", many thanks", " thanks a lot", ", that is all", ", kindly", " if possible", ", when you can", " my dear", ", that would be nice"], [" thank you", ", if you can"])
AFTER_ORDERS = [" now", " for me", ", quickly", " right away", " at once", ", if you like", ", OK", ", will you"]


def casual(draw: Draw, text: str) -> str:
    """As people type: a word before or behind, and now and then no capitals or no mark at the end."""
    if draw.held:
        return _casual_held(draw, text)
    if draw.chance(0.25):
        before = draw.one(BEFORE[0])
        text = before + (text if text[:2] in ("I ", "I'") else _small(text))
    mark = text[-1:]
    if mark in (".", "?") and ":" not in text and draw.chance(0.14):
        more = draw.one(AFTER[0]) if mark == "?" or draw.chance(0.5) else draw.one(AFTER_ORDERS)
        if "please" not in more or "please" not in text.lower():
            text = text[:-1] + more + mark
    if draw.chance(0.3):
        text = _small(text)
    roll = draw.random()
    if roll < 0.3:
        text = text.rstrip("?.!")
    elif roll < 0.36 and mark == "?":
        text = text[:-1] + draw.one([".", "??", " ?", "?!"])
    elif roll < 0.36 and mark == ".":
        text = text[:-1] + draw.one(["!", "!", " .", "..."])
    return text


def _small(text: str) -> str:
    """With a small letter at its start, but not of "OK" or "CO2"."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _casual_held(draw: Draw, text: str) -> str:
    if draw.chance(0.12):
        text = draw.one(BEFORE[1]) + (text[:1].lower() + text[1:] if text[:2] != "I " else text)
    if draw.chance(0.08) and text[-1:] in ".?!" and "please" not in text.lower() and ":" not in text:
        text = text[:-1] + draw.one(AFTER[1]) + text[-1]
    if draw.chance(0.25):
        text = text[:1].lower() + text[1:]
    if draw.chance(0.25):
        text = text.rstrip("?.!")
    return text


def listed(items: Sequence[str], last: str = "and") -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"
