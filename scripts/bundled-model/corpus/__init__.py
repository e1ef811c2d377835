"""The corpus: seeded, endless, made of nothing but these files."""
from __future__ import annotations

from typing import Callable, Iterator

from . import copying, readings, stories, talk, tools
from .base import Document, Draw

SKILLS: list[tuple[str, float, Callable[[Draw], Document]]] = [
    ("repeat", 5, copying.repeat),
    ("look-up", 7, copying.look_up),
    ("pattern", 3, copying.pattern),
    ("tool-call", 24, tools.one_call),
    ("tool-result", 14, tools.is_it_too),
    ("tools-parallel", 4, tools.several_calls),
    ("tools-none-fits", 5, tools.no_fitting_tool),
    ("tools-talk", 2, tools.talk_beside_tools),
    ("readings", 17, readings.several_questions),
    ("sums", 5, readings.sums),
    ("drill", 4, readings.drill),
    ("summary", 3, readings.summary),
    ("states", 4, readings.states),
    ("choices", 2, readings.choices),
    ("json", 3, readings.as_json),
    ("talk", 4, talk.small_talk),
    ("greeting", 1, talk.greeting),
    ("memory", 3, talk.memory),
    ("refusal", 6, talk.refusal),
    ("story", 9, stories.told),
    ("story-plain", 2, stories.plain),
]
"""Name, weight by documents, and the skill."""


def document(seed: int, index: int) -> Document:
    """The training document of a place in the corpus: a pure function of both."""
    draw = Draw(f"train {seed} {index}")
    total = sum(weight for _, weight, _ in SKILLS)
    roll = draw.random() * total
    for _, weight, skill in SKILLS:
        roll -= weight
        if roll < 0:
            return skill(draw)
    return SKILLS[-1][2](draw)


def documents(seed: int, start: int = 0) -> Iterator[Document]:
    index = start
    while True:
        yield document(seed, index)
        index += 1
