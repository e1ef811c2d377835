"""The corpus: seeded, endless, made of nothing but these files."""
from __future__ import annotations

from typing import Callable

from . import copying, readings, stories, talk, tools
from .base import Document, Draw

SKILLS: list[tuple[str, float, Callable[[Draw], Document]]] = [
    ("repeat", 7, copying.repeat),
    ("look-up", 5, copying.look_up),
    ("pattern", 2, copying.pattern),
    ("naming", 4, copying.naming),
    ("cases", 2, copying.cases),
    ("tool-call", 25, tools.one_call),
    ("tool-result", 11, tools.is_it_too),
    ("tools-parallel", 7, tools.several_calls),
    ("tools-none-fits", 9, tools.no_fitting_tool),
    ("tools-talk", 1, tools.talk_beside_tools),
    ("readings", 26, readings.several_questions),
    ("sums", 9, readings.sums),
    ("drill", 3, readings.drill),
    ("summary", 4, readings.summary),
    ("states", 8, readings.states),
    ("choices", 9, readings.choices),
    ("json", 7, readings.as_json),
    ("talk", 8, talk.small_talk),
    ("greeting", 1, talk.greeting),
    ("memory", 3, talk.memory),
    ("refusal", 7, talk.refusal),
    ("story", 6, stories.told),
    ("story-plain", 1, stories.plain),
]
"""Name, weight by documents, and the skill."""


def drawn(seed: int, index: int) -> tuple[str, Document]:
    """The skill and the training document of a place in the corpus: a pure function of both."""
    draw = Draw(f"train {seed} {index}")
    roll = draw.random() * sum(weight for _, weight, _ in SKILLS)
    for name, weight, skill in SKILLS:
        roll -= weight
        if roll < 0:
            return name, skill(draw)
    return SKILLS[-1][0], SKILLS[-1][2](draw)


def document(seed: int, index: int) -> Document:
    return drawn(seed, index)[1]
