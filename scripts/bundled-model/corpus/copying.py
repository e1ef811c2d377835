"""Saying again what was said, finding what belongs to a name, and writing names as programs do: what all the other skills
stand on, dense and early."""
from __future__ import annotations

from . import about, house, words
from .base import Document, Draw, casual, sentence
from .phrasing import Asks
from .toolbox import join


def _item(draw: Draw) -> str:
    roll = draw.random()
    if roll < 0.4:
        return draw.made_up()
    if roll < 0.7:
        return words.name(draw)
    if roll < 0.85:
        return str(draw.whole(0, 99999))
    return f"{draw.whole(0, 999)}.{draw.whole(0, 9)}"


def _any_item(draw: Draw) -> str:
    """In training also with capitals and the separators of programs."""
    if draw.steps and draw.chance(0.12):
        return words.saying(draw)
    item = _item(draw)
    if draw.held or draw.chance(0.7):
        return item
    roll = draw.random()
    if roll < 0.3:
        return item.title()
    if roll < 0.5:
        return sentence(item)
    if roll < 0.8:
        return join(draw.random(), [item, draw.made_up()])
    return f"{item} {house.place(draw)}"


_WHAT = "[this|that|these words|the following|the next words|it all|what comes now|the line|what I write|this text|exactly this|this here|what stands here]"
REPEAT = Asks(
    ["Please repeat: {x}", "Echo this: {x}"],
    do=[f"repeat {_WHAT}: {{x}}", f"say {_WHAT}: {{x}}", f"say {_WHAT} again: {{x}}", f"write {_WHAT}: {{x}}", f"write {_WHAT} down: {{x}}", f"copy {_WHAT}: {{x}}",
        f"echo {_WHAT} back: {{x}}", "echo back: {x}", "echo the text: {x}", "echo: {x}", "repeat after me: {x}", f"repeat {_WHAT} word for word: {{x}}", "say again: {x}", "type this: {x}",
        f"print {_WHAT}: {{x}}", f"give {_WHAT} back: {{x}}", f"answer with {_WHAT}: {{x}}", f"reply with {_WHAT}: {{x}}", "say the same: {x}", "be an echo of this: {x}",
        f"send {_WHAT} back: {{x}}", f"read {_WHAT} back to me: {{x}}", f"output {_WHAT}: {{x}}", "answer only: {x}", "spell this out again: {x}", f"tell me {_WHAT} again: {{x}}"],
    say=["what did I say: {x}", "say it after me: {x}", "same again: {x}", "once more: {x}", "again: {x}", "an echo, please: {x}", "your words now: {x}", "copy: {x}", "say: {x}", "write: {x}"],
)


def repeat(draw: Draw) -> Document:
    """`Repeat: …`"""
    document = Document()
    for _ in range(1 if draw.held else draw.one([1, 1, 1, 2])):
        text = draw.one([", ", " ", "; "]).join(_any_item(draw) for _ in range(draw.whole(1, 7)))
        if not draw.held and draw.chance(0.12):
            # a request is no request when it is to be repeated
            text = draw.one([about.TASKS, about.STORY, draw.one(about.SKEIN)[0]])(draw)
        ask = REPEAT.template(draw)
        if not draw.held:
            ask = casual(draw, sentence(ask)) if draw.chance(0.4) else sentence(ask)
            if draw.chance(0.1):
                ask = ask.replace(": {x}", draw.one([":\n{x}", " : {x}", " \"{x}\"", " - {x}"]))
        document.user(ask.replace("{x}", text)).say(text)
        document.check = {"kind": "say", "expect": text}
    return document


LOOK_UP = Asks(
    ["Look up {x}.", "I need {x}."],
    say=["{x}?", "and {x}?", "{x}", "which [value|one] has {x}?", "which [value|entry|one] belongs to {x}?", "what has {x}?", "what did [I write|it say|they say] for {x}?", "{x} has which value?", "now {x}."],
    do=["look up the [value|entry] of {x}", "look for {x}", "look {x} up [in the list|here|there]", "find [the value of |]{x}", "read [out|me] {x}", "search [the list for|for] {x}", "check {x}"],
    know=[("what is {x}", "what {x} is"), ("what stands [beside|behind|next to|at] {x}", "what stands [beside|behind|next to|at] {x}"), ("what belongs to {x}", "what belongs to {x}"),
          ("what goes with {x}", "what goes with {x}"), ("which value does {x} have", "which value {x} has"), ("what does the list say of {x}", "what the list says of {x}")],
    what=["{x}", "the [value|entry|item] of {x}", "the value [for|at|that belongs to] {x}"],
)


def look_up(draw: Draw) -> Document:
    """A list of names and values, and what belongs to one of them."""
    document = Document()
    count = draw.whole(2, 7) if draw.held else draw.one([2, 2, 3, 3, 4, 5, 7])
    pairs: dict[str, str] = {}
    while len(pairs) < count:
        pairs[words.name(draw) if draw.chance(0.5) else draw.made_up()] = _item(draw)
    between = draw.one([": ", " = ", " is ", " -> "])
    given = draw.one([", ", "\n", "; ", ". "]).join(f"{name}{between}{value}" for name, value in pairs.items())
    names = list(pairs)
    for turn in range(1 if draw.held else draw.one([1, 2, 3, 4])):
        name = draw.one(names)
        ask = LOOK_UP(draw, x=name)
        if turn > 0 or not draw.held and draw.chance(0.5):
            ask = casual(draw, ask)
        document.user(f"{given}\n{ask}" if turn == 0 else ask).say(pairs[name])
        document.check = {"kind": "say", "expect": pairs[name]}
    return document


def naming(draw: Draw) -> Document:
    """Names as tools have them, made of spoken ones, and back: `silver_castle.water_level` is the water level of the silver castle."""
    document = Document()
    rooms = house.places(draw, draw.whole(2, 3))
    quantities = draw.some(house.QUANTITIES, 2)
    style = draw.random()
    spoken = {join(style, [room, quantity.short[0]]): (room, quantity) for room in rooms for quantity in quantities}
    names = list(spoken)
    draw.shuffle(names)
    names = names[: draw.whole(2, 4)]
    for turn in range(draw.whole(3, 6)):
        name = draw.one(names)
        room, quantity = spoken[name]
        if draw.chance(0.75):
            ask = _NAME_OF(draw, q=draw.one(quantity.words), the=house.the(room), room=room)
            answer = name
        else:
            ask, answer = draw.one([f"{name}?", f"What is {name}?", f"What does {name} tell?"]), sentence(f"the {quantity.name} of {house.the(room)}.")
        document.user(f"{', '.join(names)}\n{ask}" if turn == 0 else casual(draw, ask)).say(answer)
    return document


_NAME_OF = Asks([], say=["{q} of {the}?", "{room}, {q}?", "{q} in {the}", "{the}: {q}", "which one is the {q} of {the}?", "which name has the {q} in {the}?"],
                what=["the name of the {q} of {the}", "the name for the {q} in {the}"])
_CASES = {"snake case": 0.7, "kebab case": 0.85, "camel case": 0.95}
_AS = Asks([], do=["write {x} in {c}", "turn {x} into {c}", "make {x} {c}"], say=["{x} in {c}?", "{x}, in {c}", "{c}: {x}"], what=["{x} in {c}"])


def cases(draw: Draw) -> Document:
    """A spoken name in the style of a program's, and a program's name as it is spoken."""
    document = Document()
    for _ in range(draw.whole(2, 5)):
        name = f"{house.place(draw).replace(chr(39) + 's', '')} {draw.one(draw.one(house.QUANTITIES).short).replace('_', ' ')}"
        if draw.chance(0.7):
            kind = draw.one(list(_CASES))
            document.user(casual(draw, _AS(draw, x=name, c=kind))).say(join(_CASES[kind], [name]))
        else:
            document.user(draw.one(["In words: {x}", "Say it with spaces: {x}", "As words: {x}"]).replace("{x}", join(draw.one([0.7, 0.85]), [name]))).say(name.lower())
    return document


def pattern(draw: Draw) -> Document:
    """Lines that come again, as plain text."""
    lines = [" ".join(_any_item(draw) for _ in range(draw.whole(1, 5))) for _ in range(draw.whole(2, 4))]
    rows = [draw.one(lines) for _ in range(draw.whole(6, 12))]
    return Document(text="\n".join([*lines, *rows]))
