"""Places, quantities, people and things of a household, each list with a part that training never sees."""
from __future__ import annotations

from dataclasses import dataclass

from . import words
from .base import Draw

PLACES = (
    ["kitchen", "bedroom", "living room", "bathroom", "hall", "cellar", "attic", "garage", "garden", "greenhouse", "office",
     "balcony", "workshop", "pantry", "shed", "nursery", "studio", "laundry room", "guest room", "terrace", "stable", "barn",
     "library", "porch", "pool house", "wine cellar", "server room", "classroom", "lab", "corridor", "north room", "loft"],
    ["conservatory", "dining room", "hen house", "orchard", "playroom", "music room", "larder", "boat house", "sauna",
     "storeroom", "tool shed", "upper hall", "sun room", "mill", "reading corner", "cold frame"],
)
OBJECTS = (
    ["fridge", "freezer", "aquarium", "boiler", "oven", "water tank", "compost heap", "terrarium", "incubator", "beehive"],
    ["hot tub", "cheese cave", "dryer", "fermenter", "rain barrel", "seed tray"],
)
PEOPLE = (
    ["Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Lena", "Max", "Nora", "Oscar", "Paula",
     "Sam", "Tom", "Vera", "Mia", "Leo", "Lucy", "Jack", "Rosa", "Tim", "Zoe", "Amir", "Yuki", "Ravi", "Sofia", "Pedro"],
    ["Bruno", "Dora", "Elias", "Fiona", "Ingrid", "Kofi", "Marta", "Nils", "Odile", "Rafael", "Tara", "Wanda"],
)
ITEMS = (
    ["milk", "bread", "eggs", "apples", "rice", "butter", "coffee", "tea", "soap", "batteries", "potatoes", "cheese", "salt",
     "olive oil", "light bulbs", "carrots", "flour", "honey", "onions", "paper towels", "cat food", "yoghurt", "lemons"],
    ["oat flakes", "tomatoes", "dish soap", "candles", "walnuts", "pears", "printer paper", "garlic", "dog biscuits", "jam"],
)
CITIES = (
    ["Paris", "Berlin", "London", "Rome", "Madrid", "Vienna", "Oslo", "Lisbon", "Athens", "Dublin", "Tokyo", "Cairo", "Lyon",
     "Hamburg", "Boston", "Zurich", "Prague", "Milan", "Toronto", "Sydney", "Lima", "Delhi", "Nantes", "Bern"],
    ["Helsinki", "Warsaw", "Geneva", "Porto", "Seoul", "Chicago", "Lille", "Naples", "Bergen", "Quito"],
)


@dataclass(frozen=True)
class Quantity:
    """What a sensor measures. `words`: how people ask for it; the first is its name. `low`, `high`: a usual range."""

    words: tuple[str, ...]
    unit: str
    low: float
    high: float
    decimals: int
    more: str
    less: str
    short: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.words[0]


QUANTITIES = [
    Quantity(("temperature",), "°C", 2, 42, 1, "warmer", "colder", ("temperature", "temp")),
    Quantity(("humidity", "air humidity"), "%", 15, 95, 0, "more humid", "drier", ("humidity", "hum")),
    Quantity(("soil moisture", "moisture of the soil"), "%", 4, 90, 0, "wetter", "drier", ("soil_moisture", "soil", "moisture")),
    Quantity(("CO2 level", "CO2", "air quality"), "ppm", 400, 2400, 0, "stuffier", "fresher", ("co2", "air")),
    Quantity(("brightness", "light level"), "lux", 0, 900, 0, "brighter", "darker", ("brightness", "light_level", "lux")),
    Quantity(("power use", "power draw", "electricity use"), "W", 0, 2900, 0, "hungrier", "thriftier", ("power", "watts")),
    Quantity(("water level", "fill level"), "%", 0, 100, 0, "fuller", "emptier", ("water_level", "level")),
    Quantity(("noise level", "loudness"), "dB", 20, 95, 0, "louder", "quieter", ("noise", "sound_level")),
    Quantity(("pressure", "air pressure"), "hPa", 960, 1045, 0, "higher", "lower", ("pressure",)),
    Quantity(("battery charge", "battery level"), "%", 1, 100, 0, "fuller", "emptier", ("battery", "charge")),
]
TEMPERATURE, HUMIDITY, SOIL, CO2, LIGHT, POWER, WATER, NOISE, PRESSURE, BATTERY = QUANTITIES


HELD = {*PLACES[1], *OBJECTS[1]}
KINDS_OF_PLACES = ["room", "house", "corner", "shed", "cellar", "hall", "yard", "store", "box", "tank", "field", "bench", "door", "shelf", "cabin", "tower"]


SAID_OTHERWISE = ["play", "reading", "read", "text", "list", "time", "timer", "note", "message", "weather", "music", "light", "clock", "lamp", "door", "fan", "open", "book", "check", "call", "feed", "order", "clean", "heat", "cool", "water", "air"]
"""Words of requests that stand in names too: `playroom` is a room."""


def place(draw: Draw) -> str:
    """A room, an object or any other name."""
    roll = draw.random()
    if draw.steps and not draw.held:
        return _any_place(draw, roll)
    if roll < 0.2:
        return draw.made_up()
    if roll < 0.45:
        return words.name(draw)
    if roll < 0.52:
        return f"{draw.split(*PEOPLE) if draw.chance(0.5) else draw.made_up().capitalize()}'s room"
    if roll < 0.62:
        return draw.split(*OBJECTS)
    return draw.split(*PLACES)


def _any_place(draw: Draw, roll: float) -> str:
    """Seldom one of the lists: what is met often is learnt by heart, and names like it are then bent to it."""
    if roll < 0.28:
        return draw.made_up()
    if roll < 0.42:
        return f"{draw.made_up()} {draw.made_up()}"
    if roll < 0.62:
        return words.name(draw)
    if roll < 0.72:
        if draw.chance(0.3):
            name = draw.one(SAID_OTHERWISE) + draw.one(["", "", " "]) + draw.one([*KINDS_OF_PLACES, "er", "ton", "ing", draw.made_up()])
            return draw.made_up() if name in HELD or name.replace(" ", "") in HELD or name in ("timer", "noteing") else name
        return f"{draw.made_up() if draw.chance(0.4) else words.noun(draw)} {draw.one(KINDS_OF_PLACES)}"
    if roll < 0.8:
        return f"{draw.split(*PEOPLE) if draw.chance(0.4) else draw.made_up().capitalize()}'s room"
    return draw.split(*(OBJECTS if roll < 0.85 else PLACES))


def places(draw: Draw, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        candidate = place(draw)
        if candidate not in found:
            found.append(candidate)
    return found


def the(place_: str) -> str:
    """`the kitchen`, but `Anna's room`."""
    return place_ if "'" in place_ else f"the {place_}"


def value(draw: Draw, quantity: Quantity) -> str:
    """A reading as text, in the quantity's decimals."""
    if quantity.decimals == 0:
        return str(draw.whole(int(quantity.low), int(quantity.high)))
    tenths = draw.whole(int(quantity.low * 10), int(quantity.high * 10))
    if draw.chance(0.12):
        tenths = tenths // 10 * 10
    return number(tenths)


def number(tenths: int) -> str:
    """Tenths as a decimal: 213 is 21.3, 210 is 21."""
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    return f"{sign}{tenths // 10}" + (f".{tenths % 10}" if tenths % 10 else "")


def tenths(text: str) -> int:
    return round(float(text) * 10)


def slug(text: str, separator: str = "_") -> str:
    return text.replace("'s", "").replace(" ", separator).lower()


LIMITS = {
    "temperature": ("too warm", "too cold", 28, 16),
    "humidity": ("too humid", "too dry", 65, 35),
    "soil moisture": ("too wet", "too dry", 75, 30),
    "CO2 level": ("too stuffy", None, 1000, None),
    "noise level": ("too loud", None, 70, None),
    "water level": (None, "too low", None, 20),
    "battery charge": (None, "too low", None, 20),
    "brightness": ("too bright", "too dark", 700, 100),
}
"""Too high, too low, and from which value on, where nobody said otherwise. The card says that these are ours."""

WARM_PLACES = {"greenhouse": (30, 10), "terrarium": (34, 22), "sauna": (95, 60), "cellar": (18, 5), "wine cellar": (16, 8),
               "fridge": (7, 1), "freezer": (-15, -25), "cheese cave": (15, 8), "server room": (27, 10)}
"""Limits of temperature for places that are no living rooms."""


def limits(quantity: Quantity, place_: str) -> tuple[str | None, str | None, float | None, float | None]:
    high_word, low_word, high, low = LIMITS[quantity.name]
    if quantity is TEMPERATURE and place_ in WARM_PLACES:
        high, low = WARM_PLACES[place_]
    return high_word, low_word, high, low


def place_words() -> set[str]:
    return {word for each in [*PLACES[0], *PLACES[1], *OBJECTS[0], *OBJECTS[1]] for word in each.split()}
