"""The corpus: seeded, endless, made of nothing but these files."""
from __future__ import annotations

from typing import Callable

from . import copying, readings, stories, talk, tools
from .base import Document, Draw

PHASES = (0, 202_000, 233_000, 337_029, 600_000)
"""Documents that the phases begin with. Copying is learnt first; digits and the choice among tools take longer. Answers
from the fourth phase on say their steps: what a small network cannot see at once it can work out in a row. The last is that of a
further training, from the weights of the one before."""
STEPS_FROM = 3

SKILLS: list[tuple[str, tuple[float, ...], Callable[[Draw], Document]]] = [
    ("repeat", (7, 4, 4, 3, 7), copying.repeat),
    ("look-up", (5, 4, 4, 4, 9), copying.look_up),
    ("pattern", (2, 1, 1, 0.5, 2), copying.pattern),
    ("naming", (4, 4, 4, 5, 2), copying.naming),
    ("cases", (2, 1, 1, 0.5, 1), copying.cases),
    ("tool-call", (25, 32, 34, 38, 42), tools.one_call),
    ("tool-result", (11, 13, 13, 14, 11), tools.is_it_too),
    ("tools-parallel", (7, 6, 6, 7, 20), tools.several_calls),
    ("tools-none-fits", (9, 14, 14, 18, 13), tools.no_fitting_tool),
    ("tools-talk", (1, 1, 1, 1, 1), tools.talk_beside_tools),
    ("readings", (26, 30, 32, 34, 40), readings.several_questions),
    ("sums", (9, 8, 8, 9, 13), readings.sums),
    ("drill", (3, 11, 0, 0, 0), readings.drill),
    ("ranges", (0, 4, 0, 0, 0), readings.ranges),
    ("sum-exercises", (0, 0, 9, 10, 10), readings.sum_exercises),
    ("range-exercises", (0, 0, 4, 5, 1), readings.range_exercises),
    ("summary", (4, 4, 4, 6, 6), readings.summary),
    ("states", (8, 8, 8, 6, 5), readings.states),
    ("choices", (9, 6, 6, 3, 6), readings.choices),
    ("json", (7, 6, 6, 6, 11), readings.as_json),
    ("talk", (8, 5, 5, 3, 3), talk.small_talk),
    ("greeting", (1, 1, 1, 1, 0.5), talk.greeting),
    ("memory", (3, 2, 2, 2, 6), talk.memory),
    ("refusal", (7, 3, 3, 4, 4), talk.refusal),
    ("story", (6, 6, 6, 3, 9), stories.told),
    ("story-plain", (1, 1, 1, 0.5, 0), stories.plain),
]
"""Name, weight by documents in each phase, and the skill."""


def drawn(seed: int, index: int) -> tuple[str, Document]:
    """The skill and the training document of a place in the corpus: a pure function of both."""
    draw = Draw(f"train {seed} {index}")
    phase = sum(index >= first for first in PHASES) - 1
    draw.steps = phase >= STEPS_FROM
    roll = draw.random() * sum(weights[phase] for _, weights, _ in SKILLS)
    for name, weights, skill in SKILLS:
        roll -= weights[phase]
        if roll < 0:
            return name, skill(draw).for_training(draw)
    return SKILLS[-1][0], SKILLS[-1][2](draw).for_training(draw)


def document(seed: int, index: int) -> Document:
    return drawn(seed, index)[1]
