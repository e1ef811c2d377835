"""Chats with tools: the call, what to make of its result, several calls, two steps, and no fitting tool."""
from __future__ import annotations

import json

from . import house, orders
from .base import Document, Draw, casual, listed, sentence
from .house import Quantity, limits, tenths, the
from .readings import relation
from .toolbox import Tool, alike, chosen, cover, fill, reading, sensor, switch, toolbox

SYSTEMS = [None, None, None, "You are a helpful assistant.", "You are Skein, a small assistant for the house.", "You help with the house. Use the tools.",
           "Answer briefly.", "You are the assistant of a family.", "Use the tools when they help."]


def begin(draw: Draw) -> Document:
    document = Document()
    system = draw.one(SYSTEMS)
    return document.system(system) if system else document


def _tools(document: Document, draw: Draw, tools: list[Tool]) -> list[Tool]:
    """In the order in which they are shown; of two for the same thing the first, for either would be right."""
    shuffled = [tool for i, tool in enumerate(tools) if all(tool.about != other.about for other in tools[:i])]
    draw.shuffle(shuffled)
    # in training a description is missing now and then: of most tools the name says it all, and it is read sooner
    document.tools = [tool.schema if draw.held or draw.chance(0.75 if draw.steps else 0.5) else _bare(tool.schema) for tool in shuffled]
    return shuffled


def _bare(schema: dict) -> dict:
    return {**schema, "function": {**schema["function"], "description": ""}}


OK_RESULTS = ["ok", '{"ok": true}', '{"status": "done"}', "done", '{"result": "ok"}', '{"success": true}']
FAILURES = (['{"error": "offline"}', '{"error": "no answer from the device"}', "error: timeout", '{"error": "not allowed"}', '{"ok": false, "error": "busy"}'],
            ['{"error": "sensor not connected"}', "error: device is asleep", '{"error": "low battery"}'])


def _reason(failure: str) -> str:
    if failure.startswith("{"):
        return json.loads(failure)["error"]
    return failure.removeprefix("error: ")


def _acknowledge(draw: Draw, document: Document, request: str) -> None:
    """After an action: say that it was done, or that it was not."""
    if draw.chance(0.15):
        failure = draw.split(*FAILURES)
        document.result(failure).say(f"That did not work: {_reason(failure)}.")
        return
    document.result(draw.one(OK_RESULTS)).say(draw.one(["Done.", "Done.", "That is done.", "OK, done."]))


def _report(draw: Draw, document: Document, quantity: Quantity, place: str) -> None:
    """After a reading: tell it."""
    if draw.chance(0.08):
        failure = draw.split(*FAILURES)
        document.result(failure).say(f"I could not read it: {_reason(failure)}.")
        return
    value = house.value(draw, quantity)
    document.result(reading(draw, quantity, value))
    document.say(f"The {quantity.name} in {the(place)} is {value} {quantity.unit}." if place else f"It is {value} {quantity.unit}.")


def one_call(draw: Draw) -> Document:
    """A request that one of the tools serves."""
    document = begin(draw)
    if draw.held or draw.chance(0.55):
        many = draw.steps and not draw.held and draw.chance(0.06)
        tools = toolbox(draw, draw.whole(7, 12) if many else draw.whole(1, 6) if draw.held or draw.steps else draw.one([1, 1, 2, 2, 3, 4, 6]))
    else:
        tools = alike(draw, draw.one([2, 2, 3, 3, 4, 5]))
    shown = _tools(document, draw, tools)
    turns = draw.whole(1, 1 if draw.held else 3)
    for turn in range(turns):
        tool = draw.one(_asked(draw, tools))
        request, arguments = tool.ask(draw)
        document.user(casual(draw, sentence(request))).think(chosen(shown, (tool, arguments))).call((tool.name, arguments))
        document.check = {"kind": "tool-call", "calls": [{"name": tool.name, "arguments": arguments}]}
        if not draw.held and turn == turns - 1 and draw.chance(0.7 if draw.steps else 0.5):
            # which tool it is is harder than to tell what came of it
            return document
        if tool.quantity:
            _report(draw, document, tool.quantity, tool.place)
        elif tool.kind == "hub":
            value = str(draw.whole(0, 99))
            document.result(json.dumps({"value": int(value)})).say(f"It is {value}.")
        elif tool.kind == "generic" and tool.what == "weather":
            sky, degrees = draw.split(["sunny", "cloudy", "rainy", "windy", "foggy"], ["stormy", "clear"]), draw.whole(-5, 35)
            city = next(iter(arguments.values()))
            document.result(json.dumps({"sky": sky, "temperature": degrees})).say(f"In {city} it is {sky} with {degrees} °C.")
        elif tool.kind == "generic" and tool.what == "time":
            clock = f"{draw.whole(0, 23):02d}:{draw.whole(0, 59):02d}"
            document.result(draw.one([clock, json.dumps({"time": clock})])).say(f"It is {clock}.")
        else:
            _acknowledge(draw, document, request)
    return document


def _asked(draw: Draw, tools: list[Tool]) -> list[Tool]:
    """In training often those that are no part of the house: of them there are many kinds, and each comes seldom."""
    others = [tool for tool in tools if tool.kind == "generic"]
    return others if draw.steps and not draw.held and others and draw.chance(0.4) else tools


def several_calls(draw: Draw) -> Document:
    """Two sensors asked for in one breath: two calls at once."""
    document = begin(draw)
    first, second = house.places(draw, 2)
    quantity = draw.one(house.QUANTITIES)
    tools = [sensor(draw, first, quantity), sensor(draw, second, quantity)]
    if tools[0].name == tools[1].name:
        return several_calls(draw)
    if not draw.held and draw.chance(0.3):
        return _two_kinds(draw, document, first)
    extra = [tool for tool in toolbox(draw, draw.whole(0, 2) if draw.held else draw.one([0, 0, 1])) if tool.place not in (first, second) and tool.kind not in ("hub", "lights")]
    if not draw.held and draw.chance(0.5):
        extra = [sensor(draw, house.place(draw), quantity), *extra[:1]]
        extra = [tool for tool in extra if tool.place not in (first, second)]
    shown = _tools(document, draw, tools + [tool for tool in extra if tool.name not in (tools[0].name, tools[1].name)])
    ask = orders.BOTH.template(draw)
    text = fill(ask, "", quantity, a=the(first), b=the(second))
    document.user(casual(draw, sentence(text))).think(chosen(shown, *((tool, {}) for tool in tools)))
    document.call(*((tool.name, {}) for tool in tools))
    document.check = {"kind": "tool-call", "calls": [{"name": tool.name, "arguments": {}} for tool in tools]}
    a, b = house.value(draw, quantity), house.value(draw, quantity)
    document.result(reading(draw, quantity, a)).result(reading(draw, quantity, b))
    answer = f"The {quantity.name} is {a} {quantity.unit} in {the(first)} and {b} {quantity.unit} in {the(second)}."
    low = text.lower()
    if "which has the" in low or "compare" in low:
        if tenths(a) == tenths(b):
            answer += " They are equal."
        else:
            is_lower = "lower" in low
            winner = first if (tenths(a) > tenths(b)) != is_lower else second
            answer += f" It is {'lower' if is_lower else 'higher'} in {the(winner)}."
    return document.say(answer)


def _two_kinds(draw: Draw, document: Document, place: str) -> Document:
    """Two quantities of one place, beside the same of another."""
    q, r = draw.some(house.QUANTITIES, 2)
    tools = {tool.name: tool for tool in (sensor(draw, place, q), sensor(draw, place, r))}
    if len(tools) < 2:
        return several_calls(draw)
    first, second = list(tools)
    other = sensor(draw, house.place(draw), draw.one([q, r]))
    tools.setdefault(other.name, other)
    shown = _tools(document, draw, list(tools.values()))
    document.user(casual(draw, orders.BOTH_KINDS(draw, q=q.name, r=r.name, the=the(place))))
    document.think(chosen(shown, (tools[first], {}), (tools[second], {}))).call((first, {}), (second, {}))
    a, b = house.value(draw, q), house.value(draw, r)
    document.result(reading(draw, q, a)).result(reading(draw, r, b))
    return document.say(f"In {the(place)} the {q.name} is {a} {q.unit} and the {r.name} {b} {r.unit}.")


def judged(quantity: Quantity, place: str, value: str, high: float | None, low: float | None, words: tuple[str | None, str | None], asked: str, steps: bool) -> tuple[str, bool]:
    """The answer to "is it too warm?", and whether it is so."""
    high_word, low_word = words
    is_high = high is not None and tenths(value) > round(high * 10)
    is_low = low is not None and tenths(value) < round(low * 10)
    state = f"it is {value} {quantity.unit} in {the(place)}"
    if steps:
        return _reasoned(state, quantity, value, asked, *((high, high_word, is_high) if asked == "high" else (low, low_word, is_low)))
    if asked == "high":
        bound = f"{house.number(round((high or 0) * 10))} {quantity.unit}"
        return _verdict(state, f"above {bound}", high_word or "", is_high)
    bound = f"{house.number(round((low or 0) * 10))} {quantity.unit}"
    return _verdict(state, f"below {bound}", low_word or "", is_low)


def _verdict(state: str, side: str, word: str, so: bool) -> tuple[str, bool]:
    """What was measured first, then what follows from it: in that order it is thought."""
    return f"{sentence(state)}. That is {side}, so yes, it is {word}." if so else f"{sentence(state)}. That is not {side}, so no.", so


def _reasoned(state: str, quantity: Quantity, value: str, asked: str, bound: float | None, word: str | None, so: bool) -> tuple[str, bool]:
    limit = house.number(round((bound or 0) * 10))
    side = "above" if asked == "high" else "below"
    facts = f"{sentence(word or '')} is {side} {limit} {quantity.unit}, and {relation(value, limit, ('above', 'below'))}"
    return f"{sentence(state)}. {facts}, so {f'yes, it is {word}' if so else 'no'}.", so


def is_it_too(draw: Draw) -> Document:
    """A question whose answer is behind a sensor, then perhaps an order that follows from it."""
    document = Document()
    quantity = draw.one([house.TEMPERATURE, house.TEMPERATURE, house.TEMPERATURE, house.HUMIDITY, house.SOIL, house.CO2, house.NOISE, house.WATER, house.LIGHT, house.BATTERY])
    place = "greenhouse" if draw.chance(0.12) and not draw.held else house.place(draw)
    high_word, low_word, high, low = limits(quantity, place)
    asked = draw.one([side for side, word in (("high", high_word), ("low", low_word)) if word])
    word = (high_word if asked == "high" else low_word) or ""
    if draw.chance(0.35):
        # the owner's own limit, told beforehand
        own = draw.whole(int(quantity.low) + 2, int(quantity.high) - 2)
        rule = f"{sentence(the(place))} is {word} {'above' if asked == 'high' else 'below'} {own} {quantity.unit}."
        document.system(rule if draw.chance(0.5) else f"You help with the house. {rule}")
        high, low = (own, low) if asked == "high" else (high, own)
    else:
        system = draw.one(SYSTEMS)
        if system:
            document.system(system)
    gauge = sensor(draw, place, quantity)
    actor = cover(draw, place) if draw.chance(0.5) else switch(draw, place)
    others = [tool for tool in toolbox(draw, draw.whole(0, 3) if draw.held else draw.one([0, 0, 1, 2])) if tool.place != place and tool.kind not in ("hub", "lights") and tool.name not in (gauge.name, actor.name)]
    has_actor = draw.chance(0.5)
    if not draw.held and draw.chance(0.4):
        others = [*others[:1], *(tool for tool in [_beside(draw, quantity, place, word)] if tool.name not in (gauge.name, actor.name))]
    shown = _tools(document, draw, [gauge, *([actor] if has_actor else []), *others])
    question = sentence(fill(orders.TOO.template(draw), place, quantity, too=word))
    ask_text, arguments = actor.ask(draw)
    then = has_actor and draw.chance(0.4)
    if then:
        # one breath: the order holds only if it is so
        order = ask_text.rstrip(".?").removeprefix("Please ").removeprefix("Can you ")
        question = draw.split(*orders.THEN).replace("{q}", question).replace("{o}", order if order.startswith("I") and not draw.held else order[:1].lower() + order[1:])
    document.user(casual(draw, question) if not then else question).think(chosen(shown, (gauge, {}))).call((gauge.name, {}))
    document.check = {"kind": "tool-call", "calls": [{"name": gauge.name, "arguments": {}}]}
    bound = high if asked == "high" else low
    value = _near(draw, quantity, bound or 0)
    document.result(reading(draw, quantity, value))
    answer, so = judged(quantity, place, value, high, low, (high_word, low_word), asked, draw.steps)
    if then and so:
        document.call((actor.name, arguments)).result(draw.one(OK_RESULTS)).say(f"{answer} Done.")
    else:
        document.say(answer)
        document.check = {"kind": "yes-no", "expect": "Yes" if so else "No", "value": value}
        if has_actor and not then and draw.chance(0.5) and not draw.held:
            document.user(casual(draw, sentence(ask_text))).think(chosen(shown, (actor, arguments))).call((actor.name, arguments))
            _acknowledge(draw, document, ask_text)
    return document


def _beside(draw: Draw, quantity: Quantity, place: str, word: str) -> Tool:
    """A sensor easily taken for the right one: elsewhere, or of something else that is never called by `word`."""
    if draw.chance(0.5):
        return sensor(draw, draw.one(["old ", "second ", "left "]) + place, quantity) if "'" not in place else sensor(draw, house.place(draw), quantity)
    return sensor(draw, place, draw.one([each for each in house.QUANTITIES if each is not quantity and word not in house.LIMITS.get(each.name, ())]))


def _near(draw: Draw, quantity: Quantity, bound: float) -> str:
    """A reading on either side of a limit, often close to it."""
    if draw.steps and not draw.held and draw.chance(0.06):
        return house.number(round(bound * 10))
    if draw.chance(0.4):
        return house.value(draw, quantity)
    spread = max(2, int(abs(bound) * 0.25))
    if quantity.decimals == 0:
        return str(max(0, int(bound) + draw.whole(-spread, spread)))
    return house.number(round(bound * 10) + draw.whole(-spread * 10, spread * 10))


def no_fitting_tool(draw: Draw) -> Document:
    """What is asked for is behind none of the tools."""
    document = begin(draw)
    near = not draw.held and draw.chance(0.6)
    tools = alike(draw, draw.one([2, 3, 3, 4])) if near else toolbox(draw, draw.whole(2, 5) if draw.held else draw.one([2, 2, 3, 4]))
    hidden = tools.pop(int(draw.random() * len(tools)))
    if not tools:
        return no_fitting_tool(draw)
    if any(tool.kind in ("hub", "lights") for tool in [*tools, hidden]) or any(tool.about == hidden.about for tool in tools):
        return no_fitting_tool(draw)
    shown = _tools(document, draw, tools)
    request, arguments = hidden.ask(draw)
    document.user(casual(draw, sentence(request))).think(chosen(shown, (hidden, arguments)))
    names = listed([tool.name for tool in sorted(tools, key=lambda t: [d["function"]["name"] for d in document.tools].index(t.name))])
    document.check = {"kind": "refusal"}
    return document.say(f"Sorry, I have no tool for that. I can use {names}.")


def talk_beside_tools(draw: Draw) -> Document:
    """A greeting or a thank you needs no tool."""
    document = begin(draw)
    _tools(document, draw, toolbox(draw, draw.whole(1, 4)))
    what, answer = draw.one([("Hello!", "Hello! How can I help?"), ("Hi", "Hello! How can I help?"), ("Thank you!", "You are welcome."), ("Thanks", "You are welcome."),
                             ("Good morning", "Good morning! How can I help?"), ("Good night", "Good night!"), ("Bye", "Goodbye!")])
    if what.startswith("Th"):
        tool = toolbox(draw, 1)[0]
        if all(tool.name != each["function"]["name"] for each in document.tools):
            document.tools.append(tool.schema)
        request, arguments = tool.ask(draw)
        document.user(casual(draw, sentence(request))).call((tool.name, arguments))
        if tool.quantity:
            _report(draw, document, tool.quantity, tool.place)
        else:
            _acknowledge(draw, document, request)
    document.user(what).say(answer)
    document.check = {"kind": "no-call"}
    if draw.chance(0.5):
        names = [each["function"]["name"] for each in document.tools]
        ask = casual(draw, orders.LIST_TOOLS(draw))
        document.user(ask).say(f"I can use {listed(names)}.")
    return document
