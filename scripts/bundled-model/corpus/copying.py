"""Saying again what was said, and finding what belongs to a name: what all the other skills stand on, dense and early."""
from __future__ import annotations

from . import words
from .base import Document, Draw, casual


def _item(draw: Draw) -> str:
    roll = draw.random()
    if roll < 0.4:
        return draw.made_up()
    if roll < 0.7:
        return words.name(draw)
    if roll < 0.85:
        return str(draw.whole(0, 99999))
    return f"{draw.whole(0, 999)}.{draw.whole(0, 9)}"


def repeat(draw: Draw) -> Document:
    """`Repeat: …`"""
    document = Document()
    for _ in range(1 if draw.held else draw.whole(1, 3)):
        text = draw.one([", ", " ", "; "]).join(_item(draw) for _ in range(draw.whole(1, 7)))
        ask = draw.split(["Repeat: {x}", "Say this again: {x}", "Repeat after me: {x}", "Write this: {x}", "Copy this: {x}", "Say: {x}"], ["Please repeat: {x}", "Echo this: {x}"])
        document.user(ask.replace("{x}", text)).say(text)
        document.check = {"kind": "say", "expect": text}
    return document


def look_up(draw: Draw) -> Document:
    """A list of names and values, and what belongs to one of them."""
    document = Document()
    count = draw.whole(2, 7)
    pairs: dict[str, str] = {}
    while len(pairs) < count:
        pairs[words.name(draw) if draw.chance(0.5) else draw.made_up()] = _item(draw)
    between = draw.one([": ", " = ", " is ", " -> "])
    given = draw.one([", ", "\n", "; ", ". "]).join(f"{name}{between}{value}" for name, value in pairs.items())
    names = list(pairs)
    for turn in range(1 if draw.held else draw.whole(1, 4)):
        name = draw.one(names)
        ask = draw.split(["What is {x}?", "And {x}?", "{x}?", "What belongs to {x}?", "Tell me {x}.", "Which value has {x}?"], ["Look up {x}.", "I need {x}."]).replace("{x}", name)
        document.user(f"{given}\n{ask}" if turn == 0 else casual(draw, ask)).say(pairs[name])
        document.check = {"kind": "say", "expect": pairs[name]}
    return document


def pattern(draw: Draw) -> Document:
    """Lines that come again, as plain text."""
    lines = [" ".join(_item(draw) for _ in range(draw.whole(1, 5))) for _ in range(draw.whole(2, 5))]
    rows = [draw.one(lines) for _ in range(draw.whole(6, 14))]
    return Document(text="\n".join([*lines, *rows]))
