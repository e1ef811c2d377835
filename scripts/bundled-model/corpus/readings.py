"""Questions about readings that stand in the chat: compare, above or below, difference, units, sums, summaries, choices, JSON."""
from __future__ import annotations

import json
from typing import Callable

from . import house, questions
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


def relation(first: str, second: str, words: tuple[str, str] = ("higher than", "lower than")) -> str:
    """`first is lower than second`."""
    a, b = tenths(first), tenths(second)
    return f"{first} is {words[0] if a > b else words[1] if a < b else 'equal to'} {second}"


FACT_FORMS = [lambda p, q, v: f"{sentence(p)}: {v} {q.unit}", lambda p, q, v: f"{p} {v} {q.unit}", lambda p, q, v: f"{p} = {v}",
              lambda p, q, v: f"The {q.name} in {the(p)} is {v} {q.unit}"]


MORE_FORMS = [*FACT_FORMS, lambda p, q, v: f"{the(p)} has {v} {q.unit}", lambda p, q, v: f"{v} {q.unit} in {the(p)}", lambda p, q, v: f"{sentence(the(p))} is at {v} {q.unit}",
              lambda p, q, v: f"It is {v} {q.unit} in {the(p)}", lambda p, q, v: f"{p}: {v}", lambda p, q, v: f"{p} -> {v} {q.unit}", lambda p, q, v: f"{p} ({v} {q.unit})",
              lambda p, q, v: f"in {the(p)} {v} {q.unit}"]


def facts(draw: Draw, quantity: Quantity, rooms: list[str], values: list[str]) -> tuple[str, list[str]]:
    """What was measured, and the names as they stand there."""
    form = draw.one(FACT_FORMS if draw.held or draw.chance(0.4) else MORE_FORMS)
    parts = [form(room, quantity, each) for room, each in zip(rooms, values)]
    text = draw.one([", ", ". ", "; ", "\n"]).join(parts)
    if draw.steps and draw.chance(0.15):
        text = listed(parts)
    if form in FACT_FORMS[:3] and draw.chance(0.6):
        text = f"{sentence(quantity.name)}: {text}"
    # the names that begin a sentence have a capital; step by step they are told as they are read
    seen = [sentence(room) if part.startswith(sentence(room)) else room for room, part in zip(rooms, parts)]
    return text + ("." if not text.endswith("\n") and draw.chance(0.8) else ""), seen


def _ask(draw: Draw, document: Document, given: str, question: str, first: bool) -> None:
    if first:
        if not draw.held and draw.chance(0.6):
            question = casual(draw, question)
        between = " " if draw.chance(0.5) else "\n"
        # now and then the question comes first
        document.user(f"{question}\n{given}" if not draw.held and draw.chance(0.12) else f"{given}{between}{question}")
    else:
        document.user(casual(draw, question))


def several_questions(draw: Draw) -> Document:
    """A few readings, and questions about them one after the other."""
    document = _begin(draw)
    quantity = draw.one(house.QUANTITIES[:10]) if draw.chance(0.5) else house.TEMPERATURE
    count = draw.whole(2, 4) if draw.held or draw.steps else draw.one([2, 2, 3, 4])
    rooms = house.places(draw, count)
    values: list[str] = []
    while len(values) < count:
        each = pair(draw, quantity)[0] if not values else pair(draw, quantity)[1]
        if all(tenths(each) != tenths(other) for other in values):
            values.append(each)
    known = dict(zip(rooms, values))
    given, seen = facts(draw, quantity, rooms, values)
    asks: list[Callable[[], tuple[str, str, dict]]] = [
        lambda: _which(draw, quantity, known, seen),
        lambda: _compare(draw, quantity, known),
        lambda: _above(draw, quantity, known),
        lambda: _difference(draw, quantity, known),
        lambda: _recall(draw, quantity, known),
        lambda: _difference(draw, quantity, known),
    ]
    if draw.steps:
        which, compare, above, difference = asks[:4]
        asks += [which, which, compare, above, difference]
    for turn in range(1 if draw.held else draw.one([1, 2, 3, 4])):
        question, answer, check = draw.one(asks)()
        _ask(draw, document, given, question, turn == 0)
        document.say(answer)
        document.check = check
    return document


def _which(draw: Draw, quantity: Quantity, known: dict[str, str], seen: list[str]) -> tuple[str, str, dict]:
    is_most = draw.chance(0.5)
    best = (max if is_most else min)(known, key=lambda room: tenths(known[room]))
    word = "highest" if is_most else "lowest"
    question = questions.WHICH[quantity.name, is_most](draw, q=quantity.name)
    check = {"kind": "choice", "expect": best, "among": list(known)}
    if draw.steps and draw.chance(0.3):
        question = questions.WHICH_MORE(draw, more=quantity.more if is_most else quantity.less)
    if draw.steps:
        return question, _one_by_one(seen, list(known.values()), is_most, quantity.unit), check
    return question, f"{sentence(the(best))}, with {known[best]} {quantity.unit}.", check


def _one_by_one(names: list[str], values: list[str], is_most: bool, unit: str) -> str:
    """Each against the best so far. What was asked for, how the two stand and the best stand beside each other each time: looked
    up in the question, which of "highest" and "lowest" it was got lost on the way."""
    asked = "higher" if is_most else "lower"
    best, top = names[0], values[0]
    told = f"{best} {top}."
    for name, value in zip(names[1:], values[1:]):
        is_better = (tenths(value) > tenths(top)) == is_most
        told += f" {name} {value}, {asked}? {relation(value, top)}, "
        if is_better:
            best, top = name, value
        told += f"{'yes: now' if is_better else 'no: still'} {best} {top}."
    return f"{told} So: {best}, {top} {unit}."


def _compare(draw: Draw, quantity: Quantity, known: dict[str, str]) -> tuple[str, str, dict]:
    first, second = draw.some(list(known), 2)
    a, b = known[first], known[second]
    is_more = draw.chance(0.5)
    word = quantity.more if is_more else quantity.less
    question = questions.COMPARE(draw, a=the(first), b=the(second), more=word)
    so = tenths(a) > tenths(b) if is_more else tenths(a) < tenths(b)
    check = {"kind": "yes-no", "expect": "Yes" if so else "No", "skill": "compare"}
    if draw.steps:
        have = f"{sentence(the(first))} has {a}, {the(second)} has {b}."
        return question, f"{have} {relation(a, b)}, and {word} means {'higher' if is_more else 'lower'}, so {'yes' if so else 'no'}.", check
    return question, f"{_sign_text(a, b)}, so {'yes' if so else 'no'}.", check


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
    question = questions.ABOVE(draw, a=the(room), than=word, n=str(limit), unit=quantity.unit, q=quantity.name)
    a, b = tenths(reading), limit * 10
    so = a > b if is_above else a < b
    check = {"kind": "yes-no", "expect": "Yes" if so else "No", "skill": "above-below"}
    if draw.steps:
        asked = f"{word} means {'higher' if is_above else 'lower'}"
        return question, f"{sentence(the(room))} has {reading}. {relation(reading, str(limit))}, and {asked}, so {'yes' if so else 'no'}.", check
    return question, f"{_sign_text(reading, str(limit))}, so {'yes' if so else 'no'}.", check


def _difference(draw: Draw, quantity: Quantity, known: dict[str, str]) -> tuple[str, str, dict]:
    first, second = draw.some(list(known), 2)
    sum_text, result = difference_text(known[first], known[second])
    word = quantity.more if tenths(known[first]) > tenths(known[second]) else quantity.less
    question = questions.DIFFERENCE(draw, a=the(first), b=the(second), more=word, q=quantity.name)
    if draw.steps:
        have = f"{sentence(the(first))} has {known[first]}, {the(second)} has {known[second]}."
        sum_text = f"{have} {relation(known[first], known[second])}: {sum_text}"
    return question, f"{sum_text}, so the difference is {result} {quantity.unit}.", {"kind": "number", "expect": result, "skill": "difference"}


def _recall(draw: Draw, quantity: Quantity, known: dict[str, str]) -> tuple[str, str, dict]:
    room = draw.one(list(known))
    question = questions.RECALL(draw, a=the(room), q=quantity.name)
    answer = f"{sentence(the(room))} has {known[room]} {quantity.unit}." if draw.steps else f"{known[room]} {quantity.unit}."
    return question, answer, {"kind": "number", "expect": known[room], "skill": "recall"}


def _exercises(lines: list[tuple[str, str]]) -> Document:
    """Lines of a task and its answer, of which the answers are learnt: the numbers of the tasks cannot be known."""
    document = Document(text="", learnt=[])
    for task, answer in lines:
        begin = len(document.text) + len(task)
        document.learnt.append((begin, begin + len(answer) + 1))
        document.text += f"{task}{answer}\n"
    return document


def _sum_lines(draw: Draw) -> list[tuple[str, str]]:
    lines = []
    for _ in range(draw.whole(12, 24)):
        a, b = _drilled(draw)
        roll = draw.random()
        if roll < 0.5:
            lines.append(("", difference_text(a, b)[0]))
        elif roll < 0.85:
            lines.append(("", _sign_text(a, b)))
        else:
            x, y = draw.whole(0, 99), draw.whole(0, 99)
            lines.append(("", f"{x} + {y} = {x + y}"))
    return lines


def _drilled(draw: Draw) -> tuple[str, str]:
    return pair(draw, draw.one([house.TEMPERATURE, house.TEMPERATURE, house.HUMIDITY, house.CO2, house.POWER]))


def _sign_text(a: str, b: str) -> str:
    return f"{a} {'>' if tenths(a) > tenths(b) else '<' if tenths(a) < tenths(b) else '='} {b}"


def _compared(draw: Draw, a: str, b: str) -> str:
    return relation(a, b) if draw.steps else _sign_text(a, b)


def _exercise_lines(draw: Draw) -> list[tuple[str, str]]:
    """As `_sum_lines`, with both numbers in view before the answer, as they are in a chat."""
    lines = []
    for _ in range(draw.whole(12, 24)):
        a, b = _drilled(draw)
        if draw.chance(0.5):
            task, answer = difference_text(a, b)[0].split("= ")
            lines.append((f"{task}=", f" {answer}"))
        elif draw.chance(0.75):
            lines.append((draw.one([f"{a} and {b}:", f"{a}, {b}:", f"{b} and {a}:"]), f" {_compared(draw, a, b)}"))
        else:
            lines.append(_sum_exercise(draw))
    return lines


def _sum_exercise(draw: Draw) -> tuple[str, str]:
    """Small sums as `sums` has them, step by step."""
    x, y = _two(draw)
    if not draw.steps:
        return f"{x} + {y} =", f" {x + y}"
    if draw.chance(0.4):
        x, y = max(x, y), min(x, y)
        return f"{x} - {y}", f"{_taken(x, y).removeprefix(f'{x} - {y}')} {x - y}"
    return f"{x} + {y}", f"{_added(x, y).removeprefix(f'{x} + {y}')} {x + y}"


def _range_lines(draw: Draw) -> list[tuple[str, str]]:
    lines = []
    for _ in range(draw.whole(8, 16)):
        quantity = draw.one([house.TEMPERATURE, house.HUMIDITY, house.CO2, house.POWER])
        values = [value(draw, quantity)]
        for _ in range(draw.whole(1, 4)):
            values.append(pair(draw, quantity)[1])
        low, high = min(values, key=tenths), max(values, key=tenths)
        lines.append((f"{draw.one([', ', '; ', ' ']).join(values)}:", f" lowest {low}, highest {high}"))
    return lines


def _all_learnt(lines: list[tuple[str, str]]) -> Document:
    return Document(text="\n".join(task + answer for task, answer in lines))


def drill(draw: Draw) -> Document:
    """Many small sums in one text: where the digits are learnt."""
    return _all_learnt(_sum_lines(draw))


def ranges(draw: Draw) -> Document:
    """The lowest and the highest of a few numbers, many times."""
    return _all_learnt(_range_lines(draw))


def sum_exercises(draw: Draw) -> Document:
    return _exercises(_exercise_lines(draw))


def range_exercises(draw: Draw) -> Document:
    return _exercises(_range_lines(draw))


def sums(draw: Draw) -> Document:
    """Small sums, and units."""
    document = _begin(draw)
    for _ in range(1 if draw.held else draw.one([1, 2, 3, 4])):
        question, answer, expect, skill = draw.one([_sum, _minus, _celsius, _fahrenheit, _unit])(draw)
        document.user(casual(draw, question)).say(answer)
        document.check = {"kind": "number", "expect": expect, "skill": skill}
    return document


def _two(draw: Draw) -> tuple[int, int]:
    highest = 12 if draw.steps and draw.chance(0.3) else 99
    return draw.whole(0, highest), draw.whole(0, highest)


def _sum(draw: Draw) -> tuple[str, str, str, str]:
    a, b = _two(draw)
    ask = questions.SUM(draw, a=str(a), b=str(b))
    return ask, f"{_added(a, b) if draw.steps else f'{a} + {b} ='} {a + b}.", str(a + b), "sum"


def _minus(draw: Draw) -> tuple[str, str, str, str]:
    a, b = sorted(_two(draw), reverse=True)
    ask = questions.MINUS(draw, a=str(a), b=str(b))
    return ask, f"{_taken(a, b) if draw.steps else f'{a} - {b} ='} {a - b}.", str(a - b), "difference"


def _added(a: int, b: int) -> str:
    """`95 + 87: 5 + 7 = 12, so`: what is carried is seen before the first digit of the sum is said."""
    if a < 10 and b < 10:
        return f"{a} + {b} ="
    return f"{a} + {b}: {a % 10} + {b % 10} = {a % 10 + b % 10}, so"


def _taken(a: int, b: int) -> str:
    """`42 - 17: 12 - 7 = 5, so`: what is borrowed, the same way."""
    if a < 10:
        return f"{a} - {b} ="
    ones = a % 10 + (10 if a % 10 < b % 10 else 0)
    return f"{a} - {b}: {ones} - {b % 10} = {ones - b % 10}, so"


def _celsius(draw: Draw) -> tuple[str, str, str, str]:
    c = draw.whole(-10, 45)
    f = number(c * 18 + 320)
    ask = questions.FAHRENHEIT(draw, n=str(c))
    return ask, f"{c} °C is {f} °F.", f, "units"


def _fahrenheit(draw: Draw) -> tuple[str, str, str, str]:
    c = draw.whole(-10, 45)
    f = number(c * 18 + 320)
    ask = questions.CELSIUS(draw, n=f)
    return ask, f"{f} °F is {c} °C.", str(c), "units"


def _unit(draw: Draw) -> tuple[str, str, str, str]:
    n = draw.whole(1, 60)
    small, large, factor = draw.one([("minutes", "hours", 60), ("seconds", "minutes", 60), ("cm", "m", 100), ("g", "kg", 1000), ("m", "km", 1000), ("W", "kW", 1000), ("ml", "l", 1000)])
    if factor == 60:
        n = draw.whole(1, 12)
    ask = questions.UNIT(draw, n=str(n), small=small, large=large)
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
    ask = questions.SUMMARY(draw)
    if not draw.held:
        ask = casual(draw, ask)
    document.user(f"{sentence(quantity.name)} in {the(room)} ({quantity.unit}): {written}\n{ask}")
    values = [v for _, v in rows]
    low, high = min(values, key=tenths), max(values, key=tenths)
    change = tenths(values[-1]) - tenths(values[0])
    limit = 3 * scale
    trend = "rose" if change > limit else "fell" if change < -limit else "stayed about the same"
    by = f", {'lower' if change < 0 else 'higher'} by {number(abs(change))}" if draw.steps else ""
    move = f"went from {values[0]} to {values[-1]} {quantity.unit}{by}: it {trend}"
    document.say(f"The {quantity.name} in {the(room)} {move}. The lowest value was {low}, the highest {high}.")
    document.check = {"kind": "summary", "trend": trend, "low": low, "high": high}
    return document


STATES = [("door", ["open", "closed"]), ("window", ["open", "closed"]), ("lamp", ["on", "off"]), ("heater", ["on", "off"]), ("gate", ["locked", "unlocked"]), ("pump", ["running", "stopped"])]


STATE_FORMS = ["The {t} of {a} is {s}.", "The {t} of {a} is {s}.", "The {t} in {a} is {s}.", "{t} of {a}: {s}.", "In {a} the {t} is {s}.", "{a}: {t} {s}."]


def states(draw: Draw) -> Document:
    """Yes or no, and choices, about what was told."""
    document = _begin(draw)
    rooms = house.places(draw, draw.whole(2, 4) if draw.held else draw.one([2, 2, 3, 3, 4]))
    thing, words = draw.one(STATES)
    told = {room: draw.one(words) for room in rooms}
    form = draw.vary(STATE_FORMS[0], STATE_FORMS)
    given = " ".join(form.replace("{t}", thing).replace("{a}", the(room)).replace("{s}", state) for room, state in told.items())
    for turn in range(1 if draw.held else draw.one([1, 2, 3, 4])):
        room = draw.one(rooms)
        if draw.chance(0.6):
            word = draw.one(words)
            so = told[room] == word
            question = questions.STATE_IS(draw, t=thing, a=the(room), s=word)
            answer = f"{'Yes' if so else 'No'}, it is {told[room]}."
            document.check = {"kind": "yes-no", "expect": "Yes" if so else "No", "skill": "state"}
        else:
            question = questions.STATE_WHICH(draw, t=thing, a=the(room), x=words[0], y=words[1])
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


LISTS = {"city": house.CITIES[0], "person": house.PEOPLE[0], "thing to buy": house.ITEMS[0], "place in a house": house.PLACES[0], "number": [str(n) for n in range(2, 99)],
         "day": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"], "thing to measure": [each.name for each in house.QUANTITIES]}


def _choice_of_lists(draw: Draw, document: Document) -> None:
    """The options are words of other skills; the kinds are so far apart that one alone fits."""
    kind, *others = draw.some([*LISTS, "animal", "colour"], 4)
    options = [draw.one(LISTS[each] if each in LISTS else CATEGORIES[each][0]) for each in (kind, *others[: draw.whole(1, 3)])]
    right = options[0]
    draw.shuffle(options)
    ask = questions.CHOICE(draw, a=f"{'an' if kind[0] == 'a' else 'a'} {kind}", k=kind, ors=listed(options, "or"), ands=listed(options), commas=", ".join(options))
    document.user(casual(draw, ask)).say(f"{sentence(right)}.")


def choices(draw: Draw) -> Document:
    """Which of these is …; answers from a closed list."""
    document = _begin(draw)
    for _ in range(1 if draw.held else draw.one([1, 1, 2, 3])):
        if not draw.held and draw.chance(0.35):
            _choice_of_lists(draw, document)
            continue
        kind, *others = draw.some(list(CATEGORIES), 4)
        # in held-out cases one of the two parts is new, never both: what a word means cannot be guessed
        right = draw.one(CATEGORIES[kind][0])
        options = [right, *(draw.one(CATEGORIES[each][0]) for each in others[: draw.whole(1, 3)])]
        draw.shuffle(options)
        question = questions.CHOICE(draw, a=f"{'an' if kind[0] in 'aeio' and not draw.held and draw.chance(0.8) else 'a'} {kind}", k=kind, ors=listed(options, "or"), ands=listed(options), commas=", ".join(options))
        document.user(casual(draw, question)).say(f"{sentence(right)}.")
        document.check = {"kind": "choice", "expect": right, "among": options}
    return document


ALARMS = [" The alarm is for values above {n}.", " The alarm is for values above {n}.", " Above {n} there is an alarm.", " The alarm starts above {n}.", " The alarm is on above {n}."]
KEYS = [("place", "value", "unit"), ("room", "reading", "unit"), ("where", "number", "unit"), ("location", "value", "measure")]


def as_json(draw: Draw) -> Document:
    """Readings and orders as JSON, with the names that were asked for."""
    document = _begin(draw)
    room, quantity = house.place(draw), draw.one(house.QUANTITIES)
    reading = value(draw, quantity)
    parsed: float | int = float(reading) if "." in reading else int(reading)
    keys = draw.one(KEYS)
    if not draw.held and draw.chance(0.5):
        keys = (draw.one(["place", "room", "where", "location", "spot", "area", "name", "of"]), draw.one(["value", "reading", "number", "measured", "level", "amount"]), draw.one(["unit", "measure", "in", "units"]))
    shape = draw.random()
    told = questions.TOLD(draw, v=reading, u=quantity.unit, a=the(room), p=room, q=quantity.name)
    if shape < 0.5:
        answer: dict = {keys[0]: room, keys[1]: parsed, keys[2]: quantity.unit}
    elif shape < 0.8:
        limit = draw.whole(int(quantity.low), int(quantity.high))
        answer = {keys[0]: room, keys[1]: parsed, "alarm": parsed > limit}
        told += draw.vary(" The alarm is for values above {n}.", ALARMS).replace("{n}", str(limit))
    else:
        answer = {keys[0]: room, keys[1]: parsed}
    asked = questions.JSON.template(draw)
    document.user(f"{told} {sentence(asked.replace('{k}', listed(list(answer))))}").say(json.dumps(answer, ensure_ascii=False))
    document.check = {"kind": "json", "expect": answer}
    return document
