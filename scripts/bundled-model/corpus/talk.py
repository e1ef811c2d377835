"""Small talk, what Skein is, and what this model cannot do."""
from __future__ import annotations

from . import about, house
from .base import Document, Draw, casual, sentence
from .phrasing import filled

SYSTEMS = [None, None, None, "You are a helpful assistant.", "You are Skein, a small assistant for the house.", "Answer briefly."]

GREETINGS = (
    [("Hello", "Hello! I am Skein's small model. Ask me about the house, or for a story."), ("Hi", "Hi! How can I help?"), ("Hi there!", "Hi! How can I help?"),
     ("Good morning!", "Good morning! How can I help?"), ("Good evening", "Good evening! How can I help?"), ("How are you?", "I am well, thank you. How can I help?"),
     ("Hey", "Hi! How can I help?"), ("Are you there?", "Yes, I am here. How can I help?"), ("Hello, who are you?", "I am the small model that comes with Skein. I run on your own machine."),
     ("Test", "It works. How can I help?"), ("Can you hear me?", "I can read you. How can I help?"), ("Help", "Ask me about readings, give me a tool to use, or ask for a story.")],
    [("Good day!", "Good day! How can I help?"), ("Hello there", "Hello! How can I help?")],
)
CLOSINGS = [("Thank you!", "You are welcome."), ("Thanks", "You are welcome."), ("Thanks a lot!", "You are welcome."), ("Bye", "Goodbye!"), ("Good night", "Good night!"), ("Great", "I am glad."),
            ("OK", "Good. Anything else?"), ("See you", "Goodbye!"), ("That was nice", "I am glad that you liked it."), ("Good job", "Thank you!")]

WORLD = (
    ["the president of France", "the highest mountain", "quantum physics", "the French revolution", "the Roman empire", "photosynthesis", "the stock market", "black holes",
     "the history of Spain", "the population of Brazil", "the theory of evolution", "football results", "the last election", "the king of Sweden", "electric cars", "the moon landing",
     "the price of gold", "the best phone", "vitamins", "dinosaurs", "the Bible", "chess openings", "the war", "today's news", "the capital of Mongolia", "tax law", "insurance", "my headache", "the speed of sound", "prime numbers", "the new minister", "board games", "the river Nile", "oil prices", "the Amazon forest",
     "Mozart", "back pain", "light bulbs", "the Olympic idea"],
    ["the speed of light", "the prime minister", "inflation", "the Amazon river", "volcanoes", "the Olympic games", "my back pain", "Beethoven"],
)
CANNOT = "Sorry, I am too small for that. A larger model can do it: skein pull hf:OWNER/REPO brings one."
NO_SENSOR = "Sorry, I cannot see that from here: no tool for it was given to me."


def _document(draw: Draw) -> Document:
    document = Document()
    system = draw.one(SYSTEMS)
    return document.system(system) if system else document


def small_talk(draw: Draw) -> Document:
    """Greetings, Skein, thanks; a few turns."""
    document = _document(draw)
    if draw.chance(0.15) and not draw.held:
        hello, answer = draw.split(*GREETINGS)
        document.user(casual(draw, hello)).say(answer)
    for _ in range(1 if draw.held else draw.one([1, 1, 1, 2, 3])):
        asks, answer = draw.one(about.SKEIN)
        document.user(casual(draw, asks(draw))).say(answer)
        document.check = {"kind": "say", "expect": answer}
    if draw.chance(0.12) and not draw.held:
        bye, answer = draw.one(CLOSINGS)
        document.user(casual(draw, bye)).say(answer)
    return document


def greeting(draw: Draw) -> Document:
    document = _document(draw)
    hello, answer = draw.split(*GREETINGS)
    document.user(casual(draw, hello)).say(answer)
    document.check = {"kind": "say", "expect": answer}
    return document


def refusal(draw: Draw) -> Document:
    """What only a larger model can do; and readings for which there is no tool."""
    document = _document(draw)
    for _ in range(1 if draw.held else draw.one([1, 1, 1, 2])):
        roll = draw.random()
        if draw.steps and draw.chance(0.12):
            question, answer = about.OUTSIDE(draw), NO_SENSOR
        elif roll < 0.3:
            unknown = draw.made_up().capitalize() + (f" {draw.made_up().capitalize()}" if draw.chance(0.3) else "")
            question, answer = about.WHO_ASKS(draw, x=unknown), CANNOT
        elif roll < 0.55:
            ask = about.WORLD_ASKS.template(draw)
            question, answer = ask.replace("{x}", draw.split(*WORLD)), CANNOT
        elif roll < 0.82:
            question, answer = about.TASKS(draw), CANNOT
        else:
            room, quantity = house.place(draw), draw.one(house.QUANTITIES)
            question, answer = about.NO_TOOL(draw, q=quantity.name, r=house.the(room)), NO_SENSOR
        document.user(casual(draw, sentence(question))).say(answer)
        document.check = {"kind": "refusal"}
    return document


PETS = (["dog", "cat", "horse", "parrot", "rabbit", "goldfish"], ["hamster", "pony"])
COLOURS = ["red", "blue", "green", "yellow", "white", "black", "orange", "grey"]


FACTS = 7
REMEMBERED = "OK, I will remember that as long as we talk."


def _fact(draw: Draw, kind: int) -> tuple[str, str, str, str]:
    """Something that a person tells of themselves, what is said to it, a question about it, and the answer."""
    who = draw.split(*house.PEOPLE) if draw.chance(0.6) else draw.made_up().capitalize()
    if kind == 0:
        tell = about.NAME[0](draw, x=who)
        return tell, f"Nice to meet you, {who}!", about.NAME[1](draw), f"Your name is {who}."
    if kind == 1:
        pet = draw.split(*PETS)
        tell = about.PET[0](draw, p=pet, x=who)
        return tell, f"{who} is a nice name.", about.PET[1](draw, p=pet), f"Your {pet} is called {who}."
    if kind == 2:
        city = draw.split(*house.CITIES) if draw.chance(0.7) else draw.made_up().capitalize()
        ask = about.HOME[1](draw)
        return about.HOME[0](draw, x=city), f"{city}, good to know.", ask, f"You live in {city}."
    if kind == 3:
        thing, where = draw.split(*house.ITEMS), draw.split(*house.PLACES)
        tell = draw.vary("The {t} is in the {x}.", ["The {t} is in the {x}.", "I put the {t} into the {x}.", "The {t} lies in the {x}.", "You find the {t} in the {x}.", "We keep the {t} in the {x}."])
        return filled(tell, {"t": thing, "x": where}), REMEMBERED, about.WHERE_IS(draw, t=thing), f"In the {where}."
    if kind == 4:
        number = str(draw.whole(2, 98))
        tell = draw.vary("I am {x} years old.", ["I am {x} years old.", "My age is {x}.", "I am {x}.", "I have turned {x}.", "I was {x} on my last birthday."])
        return tell.replace("{x}", number), REMEMBERED, about.AGE(draw), f"You are {number} years old."
    if kind == 5:
        colour = draw.one(COLOURS)
        tell = draw.vary("My favourite colour is {x}.", ["My favourite colour is {x}.", "I like {x} best.", "The colour I like best is {x}.", "I love the colour {x}."])
        return tell.replace("{x}", colour), f"{sentence(colour)} is a good choice.", about.COLOUR(draw), f"Your favourite colour is {colour}."
    code = "".join(draw.one("0123456789") for _ in range(4))
    tell = draw.vary("The code of the door is {x}.", ["The code of the door is {x}.", "The door code is {x}.", "{x} is the code of the door.", "Our door opens with the code {x}."])
    return tell.replace("{x}", code), REMEMBERED, about.DOOR(draw), f"The code is {code}."


def memory(draw: Draw) -> Document:
    """What was told earlier in the chat is asked for later."""
    document = _document(draw)
    told: list[tuple[str, str]] = []
    for kind in draw.some(range(FACTS), draw.whole(1, 3)):
        tell, answer, ask, recall = _fact(draw, kind)
        told.append((ask, recall))
        document.user(tell if draw.chance(0.7) else tell[:1].lower() + tell[1:].rstrip(".")).say(answer)
        if draw.chance(0.3) and not draw.held:
            asks, say = draw.one(about.SKEIN)
            document.user(casual(draw, asks(draw))).say(say)
    draw.shuffle(told)
    for ask, recall in told[: 1 if draw.held else 2]:
        document.user(casual(draw, ask)).say(recall)
        document.check = {"kind": "say", "expect": recall}
    return document
