"""Short stories with a beginning, a trouble, a help and an end. Who is in a story stays who they are: name, kind and pronoun.

A story is a chain of beats; each beat has several wordings. What one beat sets up (a thing lost, a place, a friend) the later
ones use.
"""
from __future__ import annotations

from dataclasses import dataclass

from . import about as talked, house, words
from .base import Document, Draw, casual, sentence

KINDS = (
    [("fox", "it"), ("mouse", "it"), ("bear", "it"), ("owl", "it"), ("cat", "it"), ("dog", "it"), ("rabbit", "it"), ("hedgehog", "it"), ("robot", "it"), ("dragon", "it"), ("duck", "it"), ("frog", "it"),
     ("girl", "she"), ("boy", "he"), ("gardener", "she"), ("sailor", "he"), ("baker", "she"), ("old man", "he"), ("painter", "she"), ("king", "he"), ("postman", "he"), ("queen", "she"), ("goose", "it"), ("snail", "it")],
    [("beaver", "it"), ("crow", "it"), ("miller", "he"), ("weaver", "she"), ("otter", "it")],
)
HIS = {"it": "its", "she": "her", "he": "his"}
HIM = {"it": "it", "she": "her", "he": "him"}
WHERE = (
    [("forest", "in a quiet forest"), ("village", "in a small village"), ("hill", "on a green hill"), ("river", "beside a slow river"), ("island", "on a little island"), ("town", "in a busy town"),
     ("garden", "in an old garden"), ("lighthouse", "in a lighthouse by the sea"), ("farm", "on a farm"), ("valley", "in a deep valley"), ("attic", "in the attic of a tall house"), ("mill", "in a mill with red doors")],
    [("harbour", "near a windy harbour"), ("castle", "in a half-empty castle")],
)
THINGS = (
    [("lamp", "to read at night"), ("bell", "to call friends"), ("kite", "to play in the wind"), ("red hat", "to keep warm"), ("key", "to open the door"), ("boat", "to cross the water"), ("map", "to find the way"),
     ("little clock", "to know the hour"), ("drum", "to make music"), ("blue cup", "to drink tea"), ("lantern", "to see in the dark"), ("book", "to hear old tales"), ("scarf", "to keep off the wind"), ("seed", "to grow a flower")],
    [("flute", "to play songs"), ("basket", "to carry apples"), ("mirror", "to catch the sun")],
)
TRAITS = [("kind", "shared everything"), ("brave", "was afraid of nothing"), ("shy", "spoke only in a low voice"), ("curious", "asked about everything"), ("patient", "never hurried"), ("clever", "found an answer to most things"),
          ("cheerful", "sang all day"), ("careful", "looked twice before each step")]


@dataclass
class Being:
    name: str
    kind: str
    they: str
    trait: str
    habit: str

    @property
    def their(self) -> str:
        return HIS[self.they]

    @property
    def them(self) -> str:
        return HIM[self.they]


def _being(draw: Draw, taken: str = "", kind: str = "") -> Being:
    if kind:
        they = "it"
    else:
        kind, they = draw.split(*KINDS)
        while kind == taken:
            kind, they = draw.split(*KINDS)
    names = house.PEOPLE[1] if draw.held else house.PEOPLE[0]
    name = draw.one(names) if draw.chance(0.85 if draw.steps else 0.7) else draw.made_up(can_be_said=True).capitalize()
    trait, habit = draw.one(TRAITS)
    return Being(name, kind, they, trait, habit)


def story(draw: Draw, kind: str = "") -> tuple[str, Being, Being, str]:
    """The text, the two in it, and the thing that it is about. `kind`: of the hero, where it is none of the list."""
    hero, friend = _being(draw, kind=kind), None
    while friend is None or friend.name == hero.name:
        friend = _being(draw, hero.kind)
    place, at = draw.split(*WHERE)
    thing, use = draw.split(*THINGS)
    plot = draw.one([_lost, _broken, _gift, _storm, _too_small, _shared])
    text = plot(draw, hero, friend, place, at, thing, use)
    return text, hero, friend, thing


def _a(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _opening(draw: Draw, h: Being, at: str) -> str:
    article = _a(f"{h.trait} {h.kind}")
    return draw.one([
        f"Once upon a time there was {article} named {h.name}. {h.name} lived {at}.",
        f"{h.name} was {article} who lived {at}.",
        f"{sentence(at)} lived {article} named {h.name}.",
        f"There was once {article} called {h.name}, who lived {at}.",
    ]) + draw.one([f" {h.name} {h.habit}.", f" Everyone knew that {h.name} {h.habit}.", ""])


def _meets(draw: Draw, h: Being, f: Being) -> str:
    return draw.one([
        f"On the way {h.they} met {f.name}, {_a(f.trait)} {f.kind}.",
        f"Then {_a(f.trait)} {f.kind} named {f.name} came by.",
        f"Just then {f.name} the {f.kind} looked over the fence.",
        f"At the corner sat {f.name}, {_a(f.kind)} who {f.habit}.",
    ])


def _thanks(draw: Draw, h: Being, f: Being) -> str:
    return draw.one([
        f'"Thank you, {f.name}," said {h.name}. "You are a true friend."',
        f'{h.name} thanked {f.name} with all {h.their} heart.',
        f'"I could not have done it alone," said {h.name}.',
        f'"Thank you," said {h.name}, and {f.name} smiled.',
    ])


def _close(draw: Draw, h: Being, f: Being, thing: str, place: str) -> str:
    return draw.one([
        f"From that day on, {h.name} and {f.name} were friends.",
        f"And whenever {h.name} saw the {thing}, {h.they} thought of {f.name}.",
        f"That night {h.name} and {f.name} sat together and looked at the stars.",
        f"They walked home side by side, and the {place} had never been so beautiful.",
        f"And the {thing} stayed with {h.name} for many years.",
    ])


def _lost(d: Draw, h: Being, f: Being, place: str, at: str, thing: str, use: str) -> str:
    return " ".join([
        _opening(d, h, at),
        d.one([f"{h.name} had a {thing} {use}.", f"More than anything {h.they} loved {h.their} {thing}."]),
        d.one([f"One morning the {thing} was gone.", f"But one day {h.they} could not find the {thing}.", f"One evening {h.name} looked for the {thing}, and it was not there."]),
        d.one([f"{h.name} looked under the bed and behind the door, but found nothing.", f"{sentence(h.they)} searched the whole {place}.", f"{h.name} was sad and did not know what to do."]),
        _meets(d, h, f),
        d.one([f'"Have you seen my {thing}?" asked {h.name}.', f'"I have lost my {thing}," said {h.name}.']),
        d.one([f'"Let us look together," said {f.name}.', f'"Four eyes see more than two," said {f.name}.', f'"Where did you have it last?" asked {f.name}.']),
        d.one([f"They looked behind every stone, and at last {f.name} found the {thing} under a tree.", f"Soon {f.name} saw something shine in the grass. It was the {thing}.", f"They went back the same way, step by step, and there lay the {thing}."]),
        _thanks(d, h, f), _close(d, h, f, thing, place)])


def _broken(d: Draw, h: Being, f: Being, place: str, at: str, thing: str, use: str) -> str:
    return " ".join([
        _opening(d, h, at),
        d.one([f"Every day {h.they} used {h.their} {thing} {use}.", f"{sentence(h.their)} best thing was a {thing}."]),
        d.one([f"One day the {thing} fell down and broke.", f"One winter morning the {thing} broke in two.", f"But the {thing} was old, and one day it broke."]),
        d.one([f'"Oh no," said {h.name}. "What shall I do now?"', f"{h.name} tried to mend it, but it would not hold.", f"{h.name} sat down and almost cried."]),
        _meets(d, h, f),
        d.one([f'"I can help you," said {f.name}.', f'"Show it to me," said {f.name}.', f'"Nothing is broken for ever," said {f.name}.']),
        d.one([f"{f.name} worked all night with wood and glue.", f"Together they put the parts of the {thing} on a table and set to work.", f"{f.name} took a piece of string and tied it with care."]),
        d.one([f"In the morning the {thing} was whole again.", f"When the sun rose, the {thing} was better than before.", f"At last the {thing} was mended."]),
        _thanks(d, h, f), _close(d, h, f, thing, place)])


def _gift(d: Draw, h: Being, f: Being, place: str, at: str, thing: str, use: str) -> str:
    return " ".join([
        _opening(d, h, at),
        d.one([f"{sentence(h.their)} friend was {f.name}, {_a(f.trait)} {f.kind}.", f"Next door lived {f.name}, {_a(f.kind)} who {f.habit}."]),
        d.one([f"Soon it was {f.name}'s birthday, and {h.name} had no gift.", f"{h.name} wanted to give {f.name} something special."]),
        d.one([f"{h.name} thought for three days.", f"{h.name} walked up and down and thought."]),
        d.one([f"Then {h.they} had an idea: {f.name} needed a {thing} {use}.", f'"A {thing}!" {h.they} said at last. "{f.name} can use it {use}."']),
        d.one([f"{h.name} made the {thing} with {h.their} own hands.", f"It took {h.name} a whole week to make the {thing}."]),
        d.one([f"When {f.name} opened the parcel, {f.they} laughed with joy.", f'"Is this for me?" asked {f.name}. "It is the best {thing} that I have ever seen."']),
        d.one([f"{h.name} was just as happy as {f.name}.", f"{h.name} saw that giving is as good as getting."]),
        _close(d, h, f, thing, place)])


def _storm(d: Draw, h: Being, f: Being, place: str, at: str, thing: str, use: str) -> str:
    return " ".join([
        _opening(d, h, at),
        d.one(["One night a great storm came.", "One evening the sky turned dark, and the wind began to blow.", "Then came a night of rain and thunder."]),
        d.one([f"{h.name} heard a knock at the door.", f"In the middle of the night someone called for help."]),
        d.one([f"Outside stood {f.name}, {_a(f.kind)}, wet and cold.", f"It was {f.name}, {_a(f.trait)} {f.kind}, who had lost the way."]),
        d.one([f'"Come in," said {h.name}. "There is room for two."', f'"Come in and sit by the fire," said {h.name}.']),
        d.one([f"{h.name} gave {f.name} warm soup and a blanket.", f"They drank hot tea and told each other stories."]),
        d.one(["In the morning the storm was over.", "When the sun came out, the storm had gone."]),
        d.one([f"{f.name} gave {h.name} a {thing}. \"Take it {use},\" said {f.name}.", f'"I have only this {thing}," said {f.name}, "but now it is yours."']),
        _close(d, h, f, thing, place)])


def _too_small(d: Draw, h: Being, f: Being, place: str, at: str, thing: str, use: str) -> str:
    return " ".join([
        _opening(d, h, at),
        d.one([f"But {h.name} was very small, and the others said that {h.they} could not help.", f'"You are too small," the others always told {h.them}.']),
        d.one([f"One day {f.name} the {f.kind} dropped a {thing} into a narrow hole.", f"One day the {thing} of {f.name}, {_a(f.kind)}, fell between two rocks."]),
        d.one([f"{sentence(f.their)} arm was too short, and the stick was too thick.", f"{f.name} pulled and pushed, but could not reach it.", f"Nobody in the {place} could reach it."]),
        d.one([f'"Let me try," said {h.name}.', f'"I can do it," said {h.name} in a clear voice.']),
        d.one([f"{sentence(h.they)} slipped into the gap and came back with the {thing}.", f"{h.name} climbed down, step by step, and brought up the {thing}."]),
        d.one([f'"You are small," said {f.name}, "but you are great."', f'"Now I have it again {use}," said {f.name}. "Thank you, {h.name}."']),
        d.one([f"Nobody ever called {h.name} too small again.", f"And {h.name} felt ten feet tall."])])


def _shared(d: Draw, h: Being, f: Being, place: str, at: str, thing: str, use: str) -> str:
    return " ".join([
        _opening(d, h, at),
        d.one([f"One day {h.they} found a {thing} on the path.", f"One morning a {thing} lay in front of {h.their} door."]),
        d.one([f'"It is mine," said {h.name}.', f"{h.name} was very glad."]),
        d.one([f"But {f.name}, {_a(f.trait)} {f.kind}, had seen it too.", f"But at the same moment {f.name} the {f.kind} picked it up."]),
        d.one([f"They both pulled at the {thing}, and neither let go.", "They argued until the sun went down."]),
        d.one([f'"Wait," said {f.name}. "We can share it."', f'"This is silly," said {h.name}. "Let us share it."']),
        d.one([f"So {h.name} had the {thing} on one day, and {f.name} on the next.", f"So they kept the {thing} in the middle of the {place}, for both of them {use}."]),
        d.one([f"It was more fun with two.", "Soon they forgot whose it had been."]),
        _close(d, h, f, thing, place)])


def told(draw: Draw) -> Document:
    """A story on request, about what was asked for."""
    document = Document()
    if draw.chance(0.3):
        document.system(draw.one(["You are a helpful assistant.", "You tell stories.", "You are Skein, a small assistant for the house."]))
    # what somebody wants to hear of may be anything: then it is said again, and not known
    any_kind = words.noun(draw) if draw.steps and draw.chance(0.3) else ""
    text, hero, friend, thing = story(draw, any_kind)
    about = f"{_a(hero.kind)} named {hero.name}" if any_kind and draw.chance(0.4) else _a(any_kind) if any_kind else draw.one([f"{_a(hero.kind)}", f"{_a(hero.kind)} named {hero.name}", f"{_a(hero.kind)} and {_a(friend.kind)}", f"{_a(hero.kind)} and a {thing}", f"{hero.name} the {hero.kind}", ""])
    if about:
        ask = talked.STORY_ABOUT(draw, x=about)
    else:
        ask = talked.STORY(draw)
    document.user(casual(draw, ask)).say(text)
    document.check = {"kind": "story", "names": [hero.name] if hero.name in ask else []}
    return document


def plain(draw: Draw) -> Document:
    """A story as plain text, for completions without a chat."""
    return Document(text=story(draw)[0])
