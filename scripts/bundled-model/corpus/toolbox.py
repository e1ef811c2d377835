"""Tools of a household, in the many ways in which people name them, and what is asked of each."""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, Sequence

from . import house, orders, words
from .base import Draw, function
from .house import Quantity, slug, the
from .phrasing import filled

ANY, SENSOR = "any", "sensor"
"""What tools of a whole house are for: any place, and anything that is measured."""
_MEASURED = {quantity.name for quantity in house.QUANTITIES}


@dataclass
class Tool:
    """A tool, and a way to ask for it: `ask` gives the request, the arguments that it means, and what it is about."""

    schema: dict[str, Any]
    ask: Callable[[Draw], tuple[str, dict[str, Any]]]
    kind: str
    place: str = ""
    quantity: Quantity | None = None
    what: str = ""
    """What it reads or moves, in a word; of a hub for several quantities that is told by its arguments."""

    @property
    def name(self) -> str:
        return self.schema["function"]["name"]

    @property
    def about(self) -> tuple[str, ...]:
        """What it is for, part by part, in the words of `wanted`: where, where it has a place, and what."""
        if self.kind in ("hub", "lights"):
            return (ANY, self.what or SENSOR)
        return (slug(self.place, " "), self.what) if self.place else (self.what,)

    def wanted(self, arguments: dict[str, Any]) -> tuple[str, ...]:
        """What is wanted by whoever asks for it with these arguments."""
        if self.kind not in ("hub", "lights"):
            return (as_said(self.place), self.what) if self.place else self.about
        place, *more = arguments.values()
        return (as_said(place), self.what or more[0])


def as_said(place: str) -> str:
    """In small letters, but for the rooms of people: their names are copied as they stand in the request."""
    return place if "'" in place else slug(place, " ")


def chosen(tools: Sequence[Tool], *asked: tuple[Tool, dict[str, Any]]) -> str:
    """How the tools for what is asked are found: what is wanted, then each tool, in the order in which they are shown, until one
    is for that. Each begins with its number and its name, so that the next one is found by its number in the list, of which two
    tools of one place have each their own; the last one shown has number 1, so that its line tells that there is no other. Then, part
    by part, what is wanted stands beside what it is for: whether two words behind each other are the same is seen with ease."""
    lines = []
    for tool, arguments in asked:
        wanted = tool.wanted(arguments)
        lines.append(f"want {' '.join(wanted)}")
        for number, each in zip(range(len(tools), 0, -1), tools):
            lines.append(f"{number} {each.name}, {_looked_at(wanted, each.about, each is tool)}")
            if each is tool:
                lines.append(f"call {each.name}")
                break
    return "\n".join(lines)


def _looked_at(wanted: tuple[str, ...], about: tuple[str, ...], is_it: bool) -> str:
    """`kitchen: kitchen yes, humidity: temperature no`, up to the first part that differs."""
    told = []
    for mine, its in zip(wanted, about):
        is_same = len(wanted) == len(about) and its in (mine, slug(mine, " ")) or its == ANY and len(wanted) > 1 or its == SENSOR and mine in _MEASURED
        told.append(f"{mine}: {its} {'yes' if is_same else 'no'}")
        if not is_same:
            break
    if is_it != (len(told) == len(wanted) and is_same):
        raise ValueError(f"{wanted} and {about} say another thing than the choice of the tool")
    return ", ".join(told)


def join(style: float, parts: Sequence[str]) -> str:
    """One name in the style of one owner: `greenhouse.temperature`, `greenhouse_temperature`, `greenhouseTemperature`."""
    slugs = [slug(part) for part in parts]
    if style < 0.45:
        return ".".join(slugs)
    if style < 0.8:
        return "_".join(slugs)
    if style < 0.9:
        return "-".join(part.replace("_", "-") for part in slugs)
    words = "_".join(slugs).split("_")
    return words[0] + "".join(word[:1].upper() + word[1:] for word in words[1:])


def _name(draw: Draw, *parts: str) -> str:
    return join(draw.random() if draw.style is None else draw.style, parts)


READ_DESCRIPTIONS = (
    ["{Quantity} in {the} in {unit}.", "{Quantity} of {the}, {unit}.", "Reads the {quantity} in {the}.", "Current {quantity} of {the} in {unit}.",
     "Sensor: {quantity}, {the}.", "Returns the {quantity} of {the} ({unit}).",
     "{Quantity}, {the}", "{Quantity} in {unit}.", "Tells how high the {quantity} in {the} is.", "Get the {quantity} of {the}.", "A sensor for the {quantity} in {the}.", "Measures the {quantity} of {the} in {unit}."],
    ["The {quantity} measured in {the}, in {unit}.", "Gives the {quantity} for {the}.", "{Quantity} sensor of {the}."],
)


def fill(template: str, place: str = "", quantity: Quantity | None = None, word: str = "", **more: str) -> str:
    word = word or (quantity.name if quantity else "")
    capital = word[:1].upper() + word[1:]
    text = template.replace("{the}", the(place)).replace("{quantity}", word).replace("{Quantity}", capital)
    if quantity:
        text = text.replace("{unit}", quantity.unit)
    return filled(text, more)


def sensor(draw: Draw, place: str, quantity: Quantity) -> Tool:
    """One sensor as a tool without arguments."""
    order = [place, draw.one(quantity.short)]
    verb = draw.one(["", "", "", "read", "get"])
    parts = [verb, *order] if verb else order
    schema = function(_name(draw, *parts), fill(draw.split(*READ_DESCRIPTIONS), place, quantity))

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        if quantity.name in orders.HOW and d.chance(0.2):
            # of each there is one held-out wording, for which nothing is drawn
            asks = orders.HOW[quantity.name]
            return fill(asks.held[0] if d.held else asks.template(d), place, quantity), {}
        return fill(orders.READ.template(d), place, quantity, d.one(quantity.words)), {}

    return Tool(schema, ask, "sensor", place, quantity, quantity.name)


def sensor_hub(draw: Draw, rooms: list[str], quantities: list[Quantity]) -> Tool:
    """One tool for many sensors."""
    place_key, quantity_key = draw.one(["place", "room", "location", "where"]), draw.one(["quantity", "sensor", "kind", "what"])
    properties: dict[str, Any] = {place_key: {"type": "string", "enum": rooms} if draw.chance(0.7) else {"type": "string"}}
    if len(quantities) > 1:
        properties[quantity_key] = {"type": "string", "enum": [each.name for each in quantities]}
    what = quantities[0].short[0] if len(quantities) == 1 else draw.one(["sensor", "value", "reading"])
    name = _name(draw, draw.one(["read", "get", "sensors", "house", "check"]), what)
    listed = "the " + quantities[0].name if len(quantities) == 1 else "a sensor"
    schema = function(name, draw.one([f"Reads {listed} of a room.", f"Returns {listed} at a place.", f"Current value of {listed}."]), properties)

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        room, quantity = d.one(rooms), d.one(quantities)
        arguments = {place_key: room}
        if len(quantities) > 1:
            arguments[quantity_key] = quantity.name
        return fill(orders.READ.template(d), room, quantity), arguments

    return Tool(schema, ask, "hub", what=quantities[0].name if len(quantities) == 1 else "")


SWITCHES = ["lamp", "light", "fan", "heater", "pump", "radio", "socket", "humidifier", "alarm", "sprinkler"]
COVERS = ["vent", "window", "blind", "door", "gate", "curtain", "valve", "hatch", "shutter"]


def switch(draw: Draw, place: str, thing: str = "") -> Tool:
    """Something that is on or off: with a boolean, with a word, or as a tool for each state."""
    thing = thing or draw.one(SWITCHES)
    form = draw.random()
    wording = draw.one([f"Switches the {thing} in {the(place)} on or off.", f"{thing.capitalize()} of {the(place)}.", f"Turns the {thing} in {the(place)} on or off."])
    if form < 0.45:
        key = draw.one(["on", "on", "power", "enabled"])
        schema = function(_name(draw, place, thing, *draw.one([(), ("set",), ("switch",)])), wording, {key: {"type": "boolean"}})
        as_argument: Callable[[str], dict[str, Any]] = lambda state: {key: state == "on"}
        states = ["on", "off"]
    elif form < 0.8:
        key = draw.one(["state", "to", "value"])
        schema = function(_name(draw, place, thing), wording, {key: {"type": "string", "enum": ["on", "off"]}})
        as_argument = lambda state: {key: state}
        states = ["on", "off"]
    else:
        only = draw.one(["on", "off"])
        schema = function(_name(draw, place, thing, only), f"Turns the {thing} in {the(place)} {only}.")
        as_argument = lambda state: {}
        states = [only]

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        state = d.one(states)
        return fill(orders.ON.template(d), place, thing=thing, state=state), as_argument(state)

    return Tool(schema, ask, "switch", place, what=thing)


def cover(draw: Draw, place: str, thing: str = "") -> Tool:
    """Something that opens and closes."""
    thing = thing or draw.one(COVERS)
    form = draw.random()
    if form < 0.4:
        key, words = draw.one([("state", ("open", "closed")), ("action", ("open", "close")), ("to", ("open", "closed"))])
        schema = function(_name(draw, place, thing), f"Opens or closes the {thing} in {the(place)}.", {key: {"type": "string", "enum": list(words)}})
        as_argument: Callable[[str], dict[str, Any]] = lambda do: {key: words[0] if do == "open" else words[1]}
        verbs = ["open", "close"]
    elif form < 0.7:
        only = draw.one(["open", "close"])
        schema = function(_name(draw, place, thing, only), f"{only.capitalize()}s the {thing} in {the(place)}.")
        as_argument = lambda do: {}
        verbs = [only]
    else:
        key = draw.one(["percent", "position", "level", "opening"])
        schema = function(_name(draw, place, thing, "set"), f"Sets the {thing} in {the(place)}, 0 is closed and 100 is open.",
                          {key: {"type": "integer", "minimum": 0, "maximum": 100}})

        def ask_level(d: Draw) -> tuple[str, dict[str, Any]]:
            if d.chance(0.3):
                do = d.one(["open", "close"])
                return fill(orders.COVER.template(d), place, thing=thing, do=do), {key: 100 if do == "open" else 0}
            n = d.whole(1, 99)
            return fill(orders.LEVEL.template(d), place, thing=thing, n=str(n)), {key: n}

        return Tool(schema, ask_level, "cover", place, what=thing)

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        do = d.one(verbs)
        return fill(orders.COVER.template(d), place, thing=thing, do=do), as_argument(do)

    return Tool(schema, ask, "cover", place, what=thing)


def thermostat(draw: Draw, place: str) -> Tool:
    key = draw.one(["temperature", "target", "celsius", "degrees"])
    schema = function(_name(draw, place, draw.one(["heating", "thermostat", "heater"]), *draw.one([(), ("set",)])),
                      f"Sets the target temperature of {the(place)} in °C.", {key: {"type": "number"}})

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        n = d.whole(5, 30)
        half = d.chance(0.2)
        return fill(orders.HEAT.template(d), place, n=f"{n}.5" if half else str(n)), {key: n + 0.5 if half else n}

    return Tool(schema, ask, "thermostat", place, what="heating")


def lights(draw: Draw, rooms: list[str]) -> Tool:
    """One tool for the lights of all rooms."""
    room_key, state_key = draw.one(["room", "place", "where"]), draw.one(["state", "on"])
    properties: dict[str, Any] = {room_key: {"type": "string", "enum": rooms} if draw.chance(0.7) else {"type": "string"}}
    properties[state_key] = {"type": "string", "enum": ["on", "off"]} if state_key == "state" else {"type": "boolean"}
    has_level = draw.chance(0.5)
    if has_level:
        properties["brightness"] = {"type": "integer", "minimum": 0, "maximum": 100}
    schema = function(_name(draw, draw.one(["set", "light", "lights", "switch"]), draw.one(["light", "lamp", "room_light"])),
                      draw.one(["Switches the light of a room.", "Sets the lights in a room.", "Controls lamps."]), properties, [room_key, state_key])

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        room, state = d.one(rooms), d.one(["on", "off"])
        arguments: dict[str, Any] = {room_key: room, state_key: state if state_key == "state" else state == "on"}
        if has_level and d.chance(0.4):
            n = d.whole(1, 100)
            arguments[state_key] = "on" if state_key == "state" else True
            arguments["brightness"] = n
            return fill(orders.DIM.template(d), room, n=str(n)), arguments
        return fill(orders.ON.template(d), room, thing="light", state=state), arguments

    return Tool(schema, ask, "lights", what="light")


def _generic(what: str, name: str, description: str, properties: dict[str, Any], required: list[str] | None, make: Callable[[Draw], tuple[str, dict[str, Any]]]) -> Tool:
    return Tool(function(name, description, properties, required), make, "generic", what=what)


TEXT = {"type": "string"}
WHOLE = {"type": "integer"}


def _timer(draw: Draw) -> Tool:
    key = draw.one(["minutes", "duration", "min"])

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        n = d.whole(1, 120)
        return orders.TIMER(d, n=str(n)), {key: n}

    return _generic("timer", _name(draw, *draw.one([("timer", "start"), ("set", "timer"), ("timer",), ("start", "timer")])), "Starts a timer, in minutes.", {key: WHOLE}, None, ask)


def _shopping(draw: Draw) -> Tool:
    key = draw.one(["item", "what", "product"])

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        item = d.split(*house.ITEMS) if d.chance(0.5) else words.name(d)
        return orders.SHOPPING(d, item=item), {key: item}

    return _generic("list", _name(draw, *draw.one([("list", "add"), ("add", "to", "list"), ("shopping", "add"), ("add_item",)])), "Adds an item to the shopping list.", {key: TEXT}, None, ask)


def _weather(draw: Draw) -> Tool:
    key = draw.one(["city", "location", "place"])
    properties: dict[str, Any] = {key: TEXT}
    if draw.chance(0.3):
        properties["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"]}

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        city = d.split(*house.CITIES) if d.chance(0.8) else d.made_up().capitalize()
        return orders.WEATHER(d, city=city), {key: city}

    return _generic("weather", _name(draw, *draw.one([("get", "weather"), ("weather",), ("weather", "now"), ("get", "current", "weather")])),
                    draw.one(["Weather of a city.", "Get the current weather.", "Current weather at a place."]), properties, [key], ask)


def _written(draw: Draw, listed: tuple[list[str], list[str]]) -> str:
    """What a note or a message says: a few fixed ones would be learnt by heart, and others be bent to them."""
    if draw.steps and draw.chance(0.4):
        return words.saying(draw)
    return draw.split(*listed) if draw.chance(0.25 if draw.steps else 0.5) else words.phrase(draw)


def _message(draw: Draw) -> Tool:
    to, text = draw.one([("to", "text"), ("person", "message"), ("recipient", "body")])
    messages = (["I am late", "dinner is ready", "the door is open", "call me back", "the train is on time", "see you at six", "please buy bread", "all is well here", "your parcel is here", "come back soon", "we start at nine"],
                ["the parcel has come", "I am on my way", "we start without you", "the cat is back"])

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        who = d.split(*house.PEOPLE) if d.chance(0.6) else d.made_up().capitalize()
        what = _written(d, messages)
        return orders.MESSAGE(d, who=who, what=what), {to: who, text: what}

    return _generic("message", _name(draw, *draw.one([("message", "send"), ("send", "message"), ("notify",), ("send_text",)])), "Sends a message to a person.", {to: TEXT, text: TEXT}, None, ask)


def _music(draw: Draw) -> Tool:
    key = draw.one(["genre", "what", "style", "title"])
    kinds = (["jazz", "rock", "folk music", "piano music", "children's songs", "the radio", "rain sounds", "old songs"], ["blues", "harp music", "film music"])

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        what = d.split(*kinds) if d.chance(0.5) else words.name(d)
        return orders.MUSIC(d, what=what), {key: what}

    return _generic("music", _name(draw, *draw.one([("music", "play"), ("play", "music"), ("play",), ("player", "start")])), "Plays music.", {key: TEXT}, None, ask)


def _clock(draw: Draw) -> Tool:
    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        return orders.CLOCK(d), {}

    return _generic("time", _name(draw, *draw.one([("clock",), ("get", "time"), ("time", "now"), ("current_time",)])), draw.one(["The time of day.", "Current local time."]), {}, None, ask)


def _note(draw: Draw) -> Tool:
    key = draw.one(["text", "note", "content"])
    notes = (["the plumber comes on Monday", "the key is under the pot", "pay the rent", "water the plants", "the wifi password is on the fridge", "feed the fish", "return the books", "the parcel is at the door", "oil the lock", "sweep the yard at nine", "clean the chimney", "the drawer is stuck", "change the bulbs"],
             ["the bulbs are in the drawer", "oil the gate", "the chimney sweep comes at nine"])

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        what = _written(d, notes)
        return orders.NOTE(d, what=what), {key: what}

    return _generic("note", _name(draw, *draw.one([("note", "add"), ("notes", "add"), ("add", "note"), ("remember",)])), "Keeps a note.", {key: TEXT}, None, ask)


def _book(draw: Draw) -> Tool:
    """A made-up tool over made-up things: what is asked stands in the schema alone."""
    noun = draw.made_up() if draw.chance(0.5) else words.noun(draw)
    verb = draw.one(["start", "stop", "reset", "book", "order", "check", "lock", "call", "feed", "clean"])
    key = draw.one(["id", "name", "number", "code", "count", "unit_id"])
    is_number = key in ("number", "count")

    def ask(d: Draw) -> tuple[str, dict[str, Any]]:
        what: str | int = d.whole(1, 60) if is_number else d.made_up() if d.chance(0.5) else words.name(d)
        return orders.MADE_UP(d, verb=verb, noun=noun, key=key, what=str(what)), {key: what}

    return _generic(f"{noun} {verb}", _name(draw, noun, verb), f"{verb.capitalize()}s a {noun}.", {key: WHOLE if is_number else TEXT}, None, ask)


GENERIC = [_timer, _shopping, _weather, _message, _music, _clock, _note, _book, _book]


def toolbox(draw: Draw, count: int) -> list[Tool]:
    """`count` tools of one house, some of them easily taken for one another; names are unique."""
    rooms = house.places(draw, max(3, count))
    quantities = draw.some(house.QUANTITIES, 3)
    found: list[Tool] = []
    names: set[str] = set()
    guard = 0
    while len(found) < count and guard < 60:
        guard += 1
        roll = draw.random()
        room = draw.one(rooms[:3]) if draw.chance(0.6) else draw.one(rooms)
        if roll < 0.42:
            made = sensor(draw, room, draw.one(quantities) if draw.chance(0.6) else house.TEMPERATURE)
        elif roll < 0.5:
            hub_rooms = draw.some(rooms, draw.whole(2, min(4, len(rooms))))
            made = sensor_hub(draw, hub_rooms, draw.some(house.QUANTITIES, draw.whole(1, 3)))
        elif roll < 0.6:
            made = switch(draw, room)
        elif roll < 0.71:
            made = cover(draw, room)
        elif roll < 0.76:
            made = thermostat(draw, room)
        elif roll < 0.81:
            made = lights(draw, draw.some(rooms, draw.whole(2, min(4, len(rooms)))))
        else:
            made = draw.one(GENERIC)(draw)
        about = (made.kind, made.place, made.quantity.name if made.quantity else "")
        clash = any((t.kind, t.place, t.quantity.name if t.quantity else "") == about and made.kind != "generic" for t in found)
        # one way to each thing: two tools for one request would make the right call a matter of taste
        same = made.kind in ("hub", "lights") and any(t.kind in ("hub", "lights", "sensor", "switch") for t in found)
        after = made.kind in ("sensor", "switch") and any(t.kind in ("hub", "lights") for t in found)
        twice = made.kind == "generic" and any(t.what == made.what for t in found)
        if made.name in names or len(made.name) > 64 or clash or same or after or twice:
            continue
        names.add(made.name)
        found.append(made)
    return found


def alike(draw: Draw, count: int) -> list[Tool]:
    """`count` tools that differ in one thing from each other: the same room and another quantity, the same quantity in
    another room, of rooms whose names share a word, and what is read beside what is set. Names are in one style."""
    draw.style = draw.random()
    rooms = _kin(draw) if draw.chance(0.6) else house.places(draw, 3)
    quantities = [house.TEMPERATURE, *draw.some(house.QUANTITIES[1:], 2)] if draw.chance(0.5) else draw.some(house.QUANTITIES, 3)
    makers: list[Callable[[], Tool]] = [lambda r=room, q=quantity: sensor(draw, r, q) for room in rooms for quantity in quantities]
    draw.shuffle(makers)
    if draw.chance(0.5):
        lamp, other = draw.some(["lamp", "fan", "pump", "radio", "heater"], 2)
        window, door = draw.some(COVERS, 2)
        acts: list[Callable[[], Tool]] = [
            lambda: switch(draw, rooms[0], lamp), lambda: switch(draw, rooms[1], lamp), lambda: switch(draw, rooms[0], other), lambda: cover(draw, rooms[0], window),
            lambda: cover(draw, rooms[1], window), lambda: cover(draw, rooms[0], door), lambda: thermostat(draw, rooms[0]), lambda: thermostat(draw, rooms[1])]
        draw.shuffle(acts)
        makers = acts[: draw.whole(1, count)] + makers
    found: dict[str, Tool] = {}
    for make in makers:
        tool = make()
        if len(tool.name) <= 64 and all(tool.about != other.about for other in found.values()):
            found.setdefault(tool.name, tool)
        if len(found) == count:
            break
    return list(found.values())


def _kin(draw: Draw) -> list[str]:
    """Three names of two words that share one or the other."""
    while True:
        a, b = (draw.made_up() if draw.chance(0.2) else words.adjective(draw) for _ in range(2))
        x, y = (draw.made_up() if draw.chance(0.2) else words.noun(draw) for _ in range(2))
        if a != b and x != y:
            return [f"{a} {x}", f"{a} {y}" if draw.chance(0.5) else x, f"{b} {x}"]


def reading(draw: Draw, quantity: Quantity, value: str) -> str:
    """What a sensor's tool answers: JSON in several shapes, or text."""
    roll = draw.random()
    parsed: float | int = float(value) if "." in value else int(value)
    if roll < 0.3:
        return json.dumps({draw.one(["value", "value", "reading", quantity.short[0]]): parsed, "unit": quantity.unit}, ensure_ascii=False)
    if roll < 0.45:
        # what else a device tells: when, how fresh, how full its battery is
        whole: dict[str, Any] = {draw.one(["value", quantity.short[0]]): parsed, "unit": quantity.unit}
        at = f"2026-{draw.whole(1, 12):02d}-{draw.whole(1, 28):02d}T{draw.whole(0, 23):02d}:{draw.whole(0, 59):02d}:{draw.whole(0, 59):02d}Z"
        more = draw.one([("at", at), ("age_s", draw.whole(0, 300)), ("battery_v", draw.whole(30, 42) / 10), ("device", draw.made_up()), ("time", at[11:16])])
        entries = [*whole.items(), more]
        if draw.chance(0.4):
            entries.reverse()
        return json.dumps(dict(entries), ensure_ascii=False)
    if roll < 0.6:
        return json.dumps({draw.one(["value", quantity.short[0]]): parsed})
    if roll < 0.7:
        return json.dumps({"sensor": quantity.name, "value": parsed, "unit": quantity.unit, "ok": True}, ensure_ascii=False)
    if roll < 0.85:
        return f"{value} {quantity.unit}"
    return value
