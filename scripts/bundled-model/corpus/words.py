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


_WHERE = ["in", "on", "under", "behind", "beside", "near", "over"]
_STATES = ["late", "early", "at home", "ready", "here", "there", "tired", "on the train", "at the door", "in the garden", "at work", "very happy", "out today", "back at six"]
_DONE = ["arrived", "gone", "stopped", "started", "broken", "been sold", "been found", "fallen down"]
_TO_DO = ["clean", "mend", "paint", "sell", "move", "water", "fill", "empty", "lock", "wash", "check", "carry", "bring", "fetch", "hide", "open", "count", "turn", "dry", "cut"]
_WHEN = ["at nine", "on Monday", "tomorrow", "before dinner", "with care", "again", "next week", "in the evening", "at once", "on Friday morning"]
_DOES = ["comes", "calls", "sleeps", "waits", "eats", "works", "sings", "stays"]
_PEOPLE = ["Anna", "Ben", "Clara", "David", "Emma", "grandma", "the postman", "the doctor", "my sister", "our neighbour"]
_HELD = {"the parcel has come", "I am on my way", "we start without you", "the cat is back", "the bulbs are in the drawer", "oil the gate", "the chimney sweep comes at nine"}


def saying(draw: Draw) -> str:
    """What people write to each other or note, in training: with the small words that `phrase` has not."""
    who, be = draw.one([("I", "am"), ("we", "are"), ("you", "are"), ("they", "are"), ("she", "is"), ("it", "is")])
    thing = f"{adjective(draw)} {noun(draw)}" if draw.chance(0.3) else noun(draw)
    told = draw.one([
        f"the {thing} is {draw.one(_WHERE)} the {noun(draw)}",
        f"the {noun(draw)}s are {draw.one(_WHERE)} the {thing}",
        f"{who} {be} {draw.one(_STATES)}",
        f"the {thing} has {draw.one(_DONE)}",
        f"{draw.one(_TO_DO)} the {thing} {draw.one(_WHEN)}" if draw.chance(0.5) else f"{draw.one(_TO_DO)} the {thing}",
        f"{draw.one(_PEOPLE)} {draw.one(_DOES)} {draw.one(_WHEN)}",
        f"do not forget the {thing}",
        f"{draw.one(['I', 'we', 'they'])} {draw.one(['need', 'want', 'like', 'saw', 'lost', 'sold', 'found'])} {draw.one(['a', 'the', 'your', 'my'])} {thing}",
    ])
    if draw.chance(0.12):
        told += f" and {saying(draw)}"
    return saying(draw) if told in _HELD else told


def all_words() -> set[str]:
    return {*NOUNS, *ADJECTIVES}
