"""Questions about readings that stand in the chat: compare, above or below, difference, units, sums, summaries, choices, JSON."""
from __future__ import annotations

import json
from typing import Callable

from . import house
from .base import Document, Draw, casual, listed, sentence
from .house import Quantity, number, tenths, the, value

MINUS = "-"
SYSTEMS = [None, None, None, None, "You are a helpful assistant.", "Answer briefly.", "You are Skein, a small assistant for the house."]


def _begin(draw: Draw) -> Document:
    document = Document()
    system = draw.one(SYSTEMS)
    return document.system(system) if system else document


def pair(draw: Draw, quantity: Quantity) -> tuple[str, str]:
    """Two readings, often close to each other; now and then equal."""
    first = value(draw, quantity)
    if draw.chance(0.06):
        return first, first
    if draw.chance(0.4):
        other = tenths(first) + draw.whole(-60, 60) * (1 if quantity.decimals else 10)
        if other >= 0:
            return first, number(other)
    return first, value(draw, quantity)


def difference_text(first: str, second: str) -> tuple[str, str]:
    """`larger - smaller = difference`, and the difference."""
    large, small = (first, second) if tenths(first) >= tenths(second) else (second, first)
    result = number(tenths(large) - tenths(small))
    return f"{large} {MINUS} {small} = {result}", result


FACT_FORMS = [lambda p, q, v: f"{sentence(p)}: {v} {q.unit}", lambda p, q, v: f"{p} {v} {q.unit}", lambda p, q, v: f"{p} = {v}",
              lambda p, q, v: f"The {q.name} in {the(p)} is {v} {q.unit}"]


def facts(draw: Draw, quantity: Quantity, rooms: list[str], values: list[str]) -> str:
    form = draw.one(FACT_FORMS)
    parts = [form(room, quantity, each) for room, each in zip(rooms, values)]
    text = draw.one([", ", ". ", "; ", "\n"]).join(parts)
    if form in FACT_FORMS[:3] and draw.chance(0.6):
        text = f"{sentence(quantity.name)}: {text}"
    return text + ("." if not text.endswith("\n") and draw.chance(0.8) else "")


def _ask(draw: Draw, document: Document, given: str, question: str, first: bool) -> None:
    if first:
        text = f"{given} {question}" if draw.chance(0.5) else f"{given}\n{question}"
        document.user(text)
    else:
        document.user(casual(draw, question))


def several_questions(draw: Draw) -> Document:
    """A few readings, and questions about them one after the other."""
    document = _begin(draw)
    quantity = draw.one(house.QUANTITIES[:10]) if draw.chance(0.5) else house.TEMPERATURE
    count = draw.whole(2, 4)
    rooms = house.places(draw, count)
    values: list[str] = []
    while len(values) < count:
        each = pair(draw, quantity)[0] if not values else pair(draw, quantity)[1]
        if all(tenths(each) != tenths(other) for other in values):
            values.append(each)
    known = dict(zip(rooms, values))
    given = facts(draw, quantity, rooms, values)
    asks: list[Callable[[], tuple[str, str, dict]]] = [
        lambda: _which(draw, quantity, known),
        lambda: _compare(draw, quantity, known),
        lambda: _above(draw, quantity, known),
        lambda: _difference(draw, quantity, known),
        lambda: _recall(draw, quantity, known),
        lambda: _difference(draw, quantity, known),
    ]
    for turn in range(1 if draw.held else draw.whole(2, 5)):
        question, answer, check = draw.one(asks)()
        _ask(draw, document, given, question, turn == 0)
        document.say(answer)
        document.check = check
    return document


def _which(draw: Draw, quantity: Quantity, known: dict[str, str]) -> tuple[str, str, dict]:
    is_most = draw.chance(0.5)
    best = (max if is_most else min)(known, key=lambda room: tenths(known[room]))
    word = "highest" if is_most else "lowest"
    question = draw.split([f"Where is it {word}?", f"Which has the {word} {quantity.name}?", f"Where is the {quantity.name} {word}?", f"Which one is the {word}?",
                           f"Which place has the {word} value?"],
                          [f"Tell me where the {quantity.name} is the {word}.", f"Name the place with the {word} {quantity.name}."])
    return question, f"{sentence(the(best))}, with {known[best]} {quantity.unit}.", {"kind": "choice", "expect": best, "among": list(known)}


def _compare(draw: Draw, quantity: Quantity, known: dict[str, str]) -> tuple[str, str, dict]:
    first, second = draw.some(list(known), 2)
    a, b = known[first], known[second]
    is_more = draw.chance(0.5)
    word = quantity.more if is_more else quantity.less
    question = draw.split([f"Is {the(first)} {word} than {the(second)}?", f"Is it {word} in {the(first)} than in {the(second)}?", f"{sentence(the(first))} {word} than {the(second)}?"],
                          [f"Would you say {the(first)} is {word} than {the(second)}?", f"Tell me whether {the(first)} is {word} than {the(second)}."])
    so = tenths(a) > tenths(b) if is_more else tenths(a) < tenths(b)
    sign = ">" if tenths(a) > tenths(b) else "<" if tenths(a) < tenths(b) else "="
    return question, f"{a} {sign} {b}, so {'yes' if so else 'no'}.", {"kind": "yes-no", "expect": "Yes" if so else "No", "skill": "compare"}


def _above(draw: Draw, quantity: Quantity, known: dict[str, str]) -> tuple[str, str, dict]:
    room = draw.one(list(known))
    reading = known[room]
    if draw.chance(0.5):
        spread = max(2, int(abs(float(reading)) * 0.2))
        limit = max(0, int(float(reading)) + draw.whole(-spread, spread))
    else:
        limit = draw.whole(max(0, int(quantity.low)), int(quantity.high))
    is_above = draw.chance(0.5)
    word = draw.one(["above", "over", "higher than", "more than"] if is_above else ["below", "under", "lower than", "less than"])
    question = draw.split([f"Is {the(room)} {word} {limit} {quantity.unit}?", f"Is the {quantity.name} in {the(room)} {word} {limit}?", f"{sentence(the(room))}: {word} {limit}?"],
                          [f"Has {the(room)} a {quantity.name} {word} {limit} {quantity.unit}?", f"Is it {word} {limit} {quantity.unit} in {the(room)}?"])
    a, b = tenths(reading), limit * 10
    so = a > b if is_above else a < b
    sign = ">" if a > b else "<" if a < b else "="
    return question, f"{reading} {sign} {limit}, so {'yes' if so else 'no'}.", {"kind": "yes-no", "expect": "Yes" if so else "No", "skill": "above-below"}


def _difference(draw: Draw, quantity: Quantity, known: dict[str, str]) -> tuple[str, str, dict]:
    first, second = draw.some(list(known), 2)
    sum_text, result = difference_text(known[first], known[second])
    question = draw.split([f"What is the difference between {the(first)} and {the(second)}?", f"How much {quantity.more} is {the(first)} than {the(second)}?",
                           f"How far apart are {the(first)} and {the(second)}?", f"Difference of {the(first)} and {the(second)}?"]
                          if tenths(known[first]) > tenths(known[second]) else
                          [f"What is the difference between {the(first)} and {the(second)}?", f"How much {quantity.less} is {the(first)} than {the(second)}?",
                           f"How far apart are {the(first)} and {the(second)}?", f"Difference of {the(first)} and {the(second)}?"],
                          [f"By how much do {the(first)} and {the(second)} differ?", f"Tell me the difference between {the(first)} and {the(second)}."])
    return question, f"{sum_text}, so the difference is {result} {quantity.unit}.", {"kind": "number", "expect": result, "skill": "difference"}


def _recall(draw: Draw, quantity: Quantity, known: dict[str, str]) -> tuple[str, str, dict]:
    room = draw.one(list(known))
    question = draw.split([f"What is the {quantity.name} in {the(room)}?", f"And {the(room)}?", f"How is {the(room)}?"], [f"What did {the(room)} have?"])
    return question, f"{known[room]} {quantity.unit}.", {"kind": "number", "expect": known[room], "skill": "recall"}


def drill(draw: Draw) -> Document:
    """Many small sums in one text: where the digits are learnt."""
    lines = []
    for _ in range(draw.whole(12, 24)):
        quantity = draw.one([house.TEMPERATURE, house.TEMPERATURE, house.HUMIDITY, house.CO2, house.POWER])
        a, b = pair(draw, quantity)
        roll = draw.random()
        if roll < 0.5:
            lines.append(difference_text(a, b)[0])
        elif roll < 0.85:
            lines.append(f"{a} {'>' if tenths(a) > tenths(b) else '<' if tenths(a) < tenths(b) else '='} {b}")
        else:
            x, y = draw.whole(0, 99), draw.whole(0, 99)
            lines.append(f"{x} + {y} = {x + y}")
    return Document(text="\n".join(lines))


def sums(draw: Draw) -> Document:
    """Small sums, and units."""
    document = _begin(draw)
    for _ in range(1 if draw.held else draw.whole(2, 5)):
        question, answer, expect, skill = draw.one([_sum, _minus, _celsius, _fahrenheit, _unit])(draw)
        document.user(casual(draw, question)).say(answer)
        document.check = {"kind": "number", "expect": expect, "skill": skill}
    return document


def _sum(draw: Draw) -> tuple[str, str, str, str]:
    a, b = draw.whole(0, 99), draw.whole(0, 99)
    ask = draw.split([f"What is {a} + {b}?", f"{a} + {b}", f"{a} plus {b}?", f"How much is {a} plus {b}?"], [f"Add {a} and {b}.", f"What do {a} and {b} make together?"])
    return ask, f"{a} + {b} = {a + b}.", str(a + b), "sum"


def _minus(draw: Draw) -> tuple[str, str, str, str]:
    a, b = sorted((draw.whole(0, 99), draw.whole(0, 99)), reverse=True)
    ask = draw.split([f"What is {a} - {b}?", f"{a} - {b}", f"{a} minus {b}?", f"How much is {a} minus {b}?"], [f"Take {b} from {a}."])
    return ask, f"{a} - {b} = {a - b}.", str(a - b), "difference"


def _celsius(draw: Draw) -> tuple[str, str, str, str]:
    c = draw.whole(-10, 45)
    f = number(c * 18 + 320)
    ask = draw.split([f"What is {c} °C in Fahrenheit?", f"{c} °C in °F?", f"Convert {c} degrees Celsius to Fahrenheit."], [f"How many °F are {c} °C?"])
    return ask, f"{c} °C is {f} °F.", f, "units"


def _fahrenheit(draw: Draw) -> tuple[str, str, str, str]:
    c = draw.whole(-10, 45)
    f = number(c * 18 + 320)
    ask = draw.split([f"What is {f} °F in Celsius?", f"{f} °F in °C?", f"Convert {f} degrees Fahrenheit to Celsius."], [f"How many °C are {f} °F?"])
    return ask, f"{f} °F is {c} °C.", str(c), "units"


def _unit(draw: Draw) -> tuple[str, str, str, str]:
    n = draw.whole(1, 60)
    small, large, factor = draw.one([("minutes", "hours", 60), ("seconds", "minutes", 60), ("cm", "m", 100), ("g", "kg", 1000), ("m", "km", 1000), ("W", "kW", 1000), ("ml", "l", 1000)])
    if factor == 60:
        n = draw.whole(1, 12)
    ask = draw.split([f"How many {small} are {n} {large}?", f"{n} {large} in {small}?", f"Convert {n} {large} to {small}."], [f"What is {n} {large} in {small}?"])
    return ask, f"{n} {large} is {n * factor} {small}.", str(n * factor), "units"


def summary(draw: Draw) -> Document:
    """A row of readings over time: lowest, highest, trend."""
    document = _begin(draw)
    quantity = draw.one(house.QUANTITIES)
    room = house.place(draw)
    shape = draw.one(["rising", "falling", "steady"])
    scale = 10 if quantity.decimals == 0 else 1
    start = draw.whole(int(quantity.low * 10) + 60, int(quantity.high * 10) - 60) // scale * scale
    rows, current = [], start
    step = {"rising": 1, "falling": -1, "steady": 0}[shape]
    first_hour = draw.whole(0, 17)
    for i in range(draw.whole(3, 6)):
        current = max(0, current + scale * (step * draw.whole(2, 12) + (draw.whole(-1, 1) if step == 0 else 0))) if i else current
        rows.append((f"{first_hour + i:02d}:00", number(current)))
    written = draw.one([", ", "\n"]).join(draw.one([f"{t} {v}"]) for t, v in rows)
    ask = draw.split(["Summarise this.", "Sum this up.", "What does this say?", "Give me a summary.", "Summary, please."], ["Make a short summary of it.", "What happened here?"])
    document.user(f"{sentence(quantity.name)} in {the(room)} ({quantity.unit}): {written}\n{ask}")
    values = [v for _, v in rows]
    low, high = min(values, key=tenths), max(values, key=tenths)
    change = tenths(values[-1]) - tenths(values[0])
    limit = 3 * scale
    trend = "rose" if change > limit else "fell" if change < -limit else "stayed about the same"
    move = f"went from {values[0]} to {values[-1]} {quantity.unit}: it {trend}"
    document.say(f"The {quantity.name} in {the(room)} {move}. The lowest value was {low}, the highest {high}.")
    document.check = {"kind": "summary", "trend": trend, "low": low, "high": high}
    return document


STATES = [("door", ["open", "closed"]), ("window", ["open", "closed"]), ("lamp", ["on", "off"]), ("heater", ["on", "off"]), ("gate", ["locked", "unlocked"]), ("pump", ["running", "stopped"])]


def states(draw: Draw) -> Document:
    """Yes or no, and choices, about what was told."""
    document = _begin(draw)
    rooms = house.places(draw, draw.whole(2, 4))
    thing, words = draw.one(STATES)
    told = {room: draw.one(words) for room in rooms}
    given = " ".join(f"The {thing} of {the(room)} is {state}." for room, state in told.items())
    for turn in range(1 if draw.held else draw.whole(2, 4)):
        room = draw.one(rooms)
        if draw.chance(0.6):
            word = draw.one(words)
            so = told[room] == word
            question = draw.split([f"Is the {thing} of {the(room)} {word}?", f"Is the {thing} {word} in {the(room)}?", f"{sentence(the(room))}: is the {thing} {word}? Answer yes or no."],
                                  [f"Tell me whether the {thing} of {the(room)} is {word}.", f"Answer yes or no: is the {thing} of {the(room)} {word}?"])
            answer = f"{'Yes' if so else 'No'}, it is {told[room]}."
            document.check = {"kind": "yes-no", "expect": "Yes" if so else "No", "skill": "state"}
        else:
            question = draw.split([f"Is the {thing} of {the(room)} {words[0]} or {words[1]}?", f"In which state is the {thing} of {the(room)}?", f"Choose: {words[0]} or {words[1]}, the {thing} of {the(room)}?"],
                                  [f"{sentence(words[0])} or {words[1]}: the {thing} of {the(room)}?"])
            answer = f"{sentence(told[room])}."
            document.check = {"kind": "choice", "expect": told[room], "among": words}
        _ask(draw, document, given, question, turn == 0)
        document.say(answer)
    return document


CATEGORIES = {
    "fruit": (["apple", "pear", "plum", "cherry", "banana", "grape", "orange"], ["peach", "mango"]),
    "animal": (["dog", "cat", "horse", "cow", "bird", "fish", "mouse"], ["goat", "bear"]),
    "tool": (["hammer", "saw", "drill", "wrench", "pliers"], ["chisel", "file"]),
    "room": (["kitchen", "bedroom", "cellar", "attic"], ["dining room", "larder"]),
    "drink": (["water", "tea", "coffee", "milk", "juice"], ["lemonade", "cocoa"]),
    "colour": (["red", "blue", "green", "yellow", "white", "black"], ["purple", "brown"]),
}


def choices(draw: Draw) -> Document:
    """Which of these is …; answers from a closed list."""
    document = _begin(draw)
    for _ in range(1 if draw.held else draw.whole(2, 4)):
        kind, *others = draw.some(list(CATEGORIES), 4)
        # in held-out cases one of the two parts is new, never both: what a word means cannot be guessed
        right = draw.one(CATEGORIES[kind][0])
        options = [right, *(draw.one(CATEGORIES[each][0]) for each in others[: draw.whole(1, 3)])]
        draw.shuffle(options)
        question = draw.split([f"Which of these is a {kind}: {listed(options, 'or')}?", f"Choose the {kind}: {', '.join(options)}.", f"{', '.join(options)}: which one is a {kind}?"],
                              [f"One of these is a {kind}. Which one? {', '.join(options)}.", f"Pick the {kind} from {listed(options)}."])
        document.user(casual(draw, question)).say(f"{sentence(right)}.")
        document.check = {"kind": "choice", "expect": right, "among": options}
    return document


def as_json(draw: Draw) -> Document:
    """Readings and orders as JSON, with the names that were asked for."""
    document = _begin(draw)
    room, quantity = house.place(draw), draw.one(house.QUANTITIES)
    reading = value(draw, quantity)
    parsed: float | int = float(reading) if "." in reading else int(reading)
    keys = draw.one([("place", "value", "unit"), ("room", "reading", "unit"), ("where", "number", "unit"), ("location", "value", "measure")])
    shape = draw.random()
    told = draw.split([f"It is {reading} {quantity.unit} in {the(room)}.", f"{sentence(the(room))} has {reading} {quantity.unit}.", f"{sentence(room)}: {reading} {quantity.unit}."],
                      [f"We measured {reading} {quantity.unit} in {the(room)}."])
    if shape < 0.5:
        answer: dict = {keys[0]: room, keys[1]: parsed, keys[2]: quantity.unit}
    elif shape < 0.8:
        limit = draw.whole(int(quantity.low), int(quantity.high))
        answer = {keys[0]: room, keys[1]: parsed, "alarm": parsed > limit}
        told += f" The alarm is for values above {limit}."
    else:
        answer = {keys[0]: room, keys[1]: parsed}
    asked = draw.split(["Answer as JSON with {k}.", "Write it as JSON: {k}.", "Give me JSON with the keys {k}.", "JSON with {k}, please."], ["Return a JSON object with {k}.", "Put it into JSON ({k})."])
    document.user(f"{told} {asked.replace('{k}', listed(list(answer)))}").say(json.dumps(answer, ensure_ascii=False))
    document.check = {"kind": "json", "expect": answer}
    return document
