"""Common words for names and notes, so many that none of them can be learnt by heart for one place: they must be copied.
One in seven is held out."""
from __future__ import annotations

from .base import Draw
from .lists import ADJECTIVES, NOUNS, part

def noun(draw: Draw) -> str:
    return draw.one(part(NOUNS, draw.held))


def adjective(draw: Draw) -> str:
    return draw.one(part(ADJECTIVES, draw.held))


def name(draw: Draw) -> str:
    """A name of one or two words: `mill`, `blue heron`, `oak gate`."""
    roll = draw.random()
    if roll < 0.4:
        return f"{adjective(draw)} {noun(draw)}"
    if roll < 0.7:
        return f"{noun(draw)} {noun(draw)}"
    return noun(draw)


def phrase(draw: Draw) -> str:
    """A few words that need make no sense."""
    return " ".join(noun(draw) if draw.chance(0.6) else adjective(draw) for _ in range(draw.whole(2, 6)))


def all_words() -> set[str]:
    return {*NOUNS, *ADJECTIVES}
