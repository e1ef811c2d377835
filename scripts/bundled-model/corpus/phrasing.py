"""Wordings by composition: of a few verb phrases, noun phrases and questions each list of asks makes hundreds of sentences.

A request that a model knows in one wording it knows by heart; one that it met in hundreds it understands. Templates have
`[a|b|]` for a choice and `{name}` for what is filled in later. The held-out wordings of a list come out of held-out draws
alone: what training composes is compared with them, without marks, capitals and words of courtesy.
"""
from __future__ import annotations

import re
from functools import lru_cache
from typing import Sequence

from .base import AFTER, BEFORE, Draw, sentence

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_WORD = re.compile(r"(?<![{\w'])[a-z]{5,}(?![}\w'])")

ORDERS = ["{x}."] * 14 + ["please {x}."] * 4 + ["{x}, please."] * 3 + ["can you {x}?"] * 3 + ["could you {x}?"] * 2 + ["would you {x}?"] * 2 + [
    "can you please {x}?", "could you please {x}?", "would you please {x}?", "will you {x}?", "I want you to {x}.", "I'd like you to {x}.",
    "I would like you to {x}.", "I need you to {x}.", "you should {x}.", "now {x}.", "OK, {x}.", "so, {x}.", "{x} now.",
    "{x} for me.", "can you {x} for me?", "could you {x}, please?", "would you be so kind and {x}?", "I ask you to {x}.", "try to {x}.",
    "you can {x} now.", "I hope you can {x}.", "{x}, thanks.", "may I ask you to {x}?", "it is time to {x}.", "be so good and {x}.",
    "are you able to {x}?", "next, {x}.", "then {x}.", "just {x}.", "let me see you {x}."]
"""Around what somebody shall do, as a bare verb phrase."""
DIRECT = ["{x}?"] * 12 + ["tell me: {x}?", "question: {x}?", "my question: {x}?", "say: {x}?", "please say: {x}?", "I ask you: {x}?", "I have a question: {x}?",
                         "and {x}?", "so {x}?", "now, {x}?", "please: {x}?", "one thing: {x}?"]
"""Around a question."""
INDIRECT = ["tell me {x}."] * 4 + ["can you tell me {x}?"] * 3 + ["do you know {x}?"] * 2 + [
    "could you tell me {x}?", "would you tell me {x}?", "please tell me {x}.", "I want to know {x}.", "I would like to know {x}.", "I'd like to know {x}.",
    "I wonder {x}.", "I was wondering {x}.", "I need to know {x}.", "let me know {x}.", "say {x}.", "please say {x}.", "can you say {x}?", "could you say {x}?",
    "I am curious {x}.", "have you any idea {x}?", "do you happen to know {x}?", "I ask myself {x}.", "I have to know {x}.", "will you tell me {x}?",
    "can I ask {x}?", "may I know {x}?", "you should tell me {x}.", "I'd love to know {x}.", "it would be good to know {x}.", "please let me know {x}.",
    "try to tell me {x}.", "does anyone know {x}?", "I want you to tell me {x}.", "I must know {x}."]
"""Around a question in the order of words of a subordinate clause."""
VALUE = ["what is {x}?"] * 6 + ["what's {x}?"] * 3 + ["tell me {x}."] * 3 + ["give me {x}."] * 2 + ["{x}?"] * 3 + [
    "{x}, please.", "show me {x}.", "I need {x}.", "I want {x}.", "I want to know {x}.", "I'd like to know {x}.", "can you give me {x}?", "could you give me {x}?", "can you tell me {x}?",
    "could you tell me {x}?", "would you tell me {x}?", "please give me {x}.", "please tell me {x}.", "can I have {x}?", "may I have {x}?", "let me have {x}.",
    "let me see {x}.", "let me know {x}.", "I'd like {x}.", "I would like {x}.", "I would like to have {x}.", "find {x}.", "find me {x}.", "what would be {x}?", "say what {x} is.",
    "tell me what {x} is.", "can you tell me what {x} is?", "do you know what {x} is?", "do you know {x}?", "I wonder what {x} is.", "I need to know {x}.", "name {x}.", "please show me {x}.",
    "I am looking for {x}.", "I ask for {x}.", "how about {x}?", "what about {x}?", "what can you say of {x}?", "you should tell me {x}.", "state {x}."]
"""Around a thing that has a value."""


def _parts(template: str) -> tuple[str | tuple[str, ...], ...]:
    found = _CHOICE.split(template)
    return tuple(tuple(each.split("|")) if i % 2 else each for i, each in enumerate(found) if i % 2 or each)


def expand(draw: Draw, parts: tuple[str | tuple[str, ...], ...]) -> str:
    return "".join(part if isinstance(part, str) else draw.one(part) for part in parts)


def _polite() -> re.Pattern[str]:
    before = [each.lower().strip(" ,:!.") for each in [*BEFORE[0], *BEFORE[1], "please"]]
    after = [each.lower().strip(" ,") for each in [*AFTER[0], *AFTER[1]]]
    first, last = ("|".join(re.escape(each) for each in sorted(set(them), key=len, reverse=True)) for them in (before, after))
    return re.compile(rf"^(?:(?:{first})[,:!.]? )+(?=\S)|(?:,? (?:{last}))+$")


_POLITE = _polite()


@lru_cache(maxsize=1 << 16)
def plain(text: str) -> str:
    """What two wordings are compared by: no capitals, no mark at the end, no words of courtesy around."""
    return _POLITE.sub("", text.lower().rstrip(" .?!")).rstrip(" .?!,")


def filled(template: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        template = template.replace("{" + key + "}", value)
    return template


class Asks:
    """Ways to ask for one thing. `held`: what only held-out draws say. Of training, each a template without capital:

    - `say`: whole sentences, with their marks
    - `do`: bare verb phrases ("repeat {x}"); one with a colon is followed by what it is about, and ends there
    - `know`: a question and the same as a clause ("where is it", "where it is"); with "whether " the clause may say "if"
    - `what`: things that have a value ("the difference of {a} and {b}")
    """

    def __init__(self, held: Sequence[str], *, say: Sequence[str] = (), do: Sequence[str] = (), know: Sequence[tuple[str, str]] = (), what: Sequence[str] = ()):
        self.held = list(held)
        self._kept = {plain(each) for each in held}
        self._say = [_parts(each) for each in say]
        self._do = [_parts(each) for each in do]
        self._know = [(_parts(direct), _parts(clause)) for direct, clause in know]
        self._what = [_parts(each) for each in what]
        self._counts = (len(self._say), len(self._do), len(self._know), len(self._what))

    def template(self, draw: Draw) -> str:
        if draw.held:
            return draw.one(self.held)
        for _ in range(100):
            text = self._composed(draw).replace("  ", " ")
            if plain(text) not in self._kept:
                return _typed(draw, text)
        raise ValueError(f"training has no wording of its own beside {self.held}")

    def __call__(self, draw: Draw, **values: str) -> str:
        return sentence(filled(self.template(draw), values))

    def _composed(self, draw: Draw) -> str:
        says, does, knows, whats = self._counts
        # a frame multiplies what it is put around: what has frames comes more often than what has none
        roll = draw.random() * (says + 2 * (does + knows + whats))
        if roll < says:
            return expand(draw, self._say[int(roll)])
        roll = (roll - says) / 2
        if roll < does:
            return _order(draw, expand(draw, self._do[int(roll)]))
        if roll < does + knows:
            direct, clause = self._know[int(roll - does)]
            if draw.chance(0.5):
                return draw.one(DIRECT).replace("{x}", expand(draw, direct))
            text = expand(draw, clause)
            if text.startswith("whether ") and draw.chance(0.5):
                text = "if " + text[8:]
            return draw.one(INDIRECT).replace("{x}", text)
        return draw.one(VALUE).replace("{x}", expand(draw, self._what[int(roll - does - knows)]))


def _order(draw: Draw, phrase: str) -> str:
    frame = draw.one(ORDERS)
    if ":" not in phrase:
        return frame.replace("{x}", phrase)
    # what it is about stands behind the colon: nothing may come after it
    while not frame.rstrip(".?").endswith("{x}"):
        frame = draw.one(ORDERS)
    return frame.rstrip(".?").replace("{x}", phrase)


def _typed(draw: Draw, text: str) -> str:
    """As fingers type it: now and then without capitals, or with a slip in a word that is no name."""
    roll = draw.random()
    if roll < 0.06:
        return "".join(part if part.startswith("{") else part.lower() for part in re.split(r"(\{\w+\})", text))
    if roll < 0.1:
        found = list(_WORD.finditer(text))
        if found:
            word = draw.one(found)
            at = word.start() + draw.whole(1, len(word[0]) - 3)
            return draw.one([text[:at] + text[at + 1 :], text[:at] + text[at + 1] + text[at] + text[at + 2 :], text[:at] + text[at] + text[at:]])
    return text
