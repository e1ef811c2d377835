"""Looks at what the generator makes: `python check_corpus.py [--documents N] [--seed N]`.

Draws training documents with all names, things, numbers and places as marks, and fails when a wording of the held-out lists is
among what their users say to the same end. Prints the wordings of each skill, and the words of held-out wordings that no
training wording has.
"""
from __future__ import annotations

import argparse
import re
from collections import defaultdict

import corpus
from corpus import house, phrasing, readings, stories, talk, words
from corpus.base import Document, Draw
from corpus.phrasing import plain
from heldout import SKILLS as HELD

LISTS = [*house.PLACES, *house.OBJECTS, *house.PEOPLE, *house.ITEMS, *house.CITIES, *talk.WORLD, *talk.PETS, talk.COLOURS]
LISTS += [part for parts in readings.CATEGORIES.values() for part in parts]
ENDS = {"greeting": "talk", "tools-none-fits": "tool-call", "refusal-no-tool": "tool-call", "story-plain": "story"}
"""Skills whose asks are compared with those of another. A refusal is not among them: what has no tool there is, beside one, an order."""


def mask_names() -> None:
    """From now on every name that the generator draws is `zq` and a number, and nobody makes slips."""
    phrasing._typed = lambda draw, text: text
    Draw.made_up = lambda self, can_be_said=False: f"zq{self.whole(0, 99999)}"  # type: ignore[method-assign]
    for kind in ("noun", "adjective"):
        setattr(words, kind, lambda draw: f"zq{draw.whole(0, 99999)}")
    for at, names in enumerate(LISTS):
        names[:] = [f"zq{1000 * at + i}" for i in range(len(names))]
    for at, pairs in enumerate([*stories.KINDS, *stories.THINGS]):
        pairs[:] = [(f"zq{100 * at + i}", second) for i, (_, second) in enumerate(pairs)]


_QUANTITY = re.compile(r"\b(?:" + "|".join(sorted((w for q in house.QUANTITIES for w in q.words), key=len, reverse=True)) + r")\b", re.IGNORECASE)


def masked(text: str) -> str:
    text = _QUANTITY.sub("~", re.sub(r"\bzq\d+(?:'s room)?(?: zq\d+)*", "#", text, flags=re.IGNORECASE))
    text = re.sub(r"-?\d+(?:\.\d+)?", "0", text)
    return re.sub(r"(?:#|0)(?:(?:[,;]| and| or)? (?:#|0))+", "#", text).lower()


def asked(doc: Document) -> list[str]:
    return [message["content"] for message in doc.messages if message["role"] == "user"]


def wordings(text: str) -> tuple[str, str]:
    """The turn, and its last line or sentence: readings stand before what is asked of them."""
    found = masked(text)
    return plain(found), plain(re.split(r"\n|(?<=[.;]) ", found)[-1])


def held_wordings() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for name, (skill, count) in HELD.items():
        for index in range(count * 4):
            doc = skill(Draw(f"mask {name} {index}", held=True))
            turns = asked(doc)[-1:] if name == "memory" else asked(doc)[:1]
            for turn in turns:
                found[ENDS.get(name, name)] |= {*wordings(turn)} - {""}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=0, help="print that many wordings of first turns")
    options = parser.parse_args()
    mask_names()
    held = held_wordings()
    train: dict[str, set[str]] = defaultdict(set)
    short: dict[str, set[str]] = defaultdict(set)
    first: dict[str, int] = defaultdict(int)
    turns: dict[str, int] = defaultdict(int)
    samples: list[str] = []
    for index in range(options.documents):
        name, doc = corpus.drawn(options.seed, index)
        said = asked(doc)
        first[name] += bool(said)
        turns[name] += len(said)
        for turn in said:
            whole, last = wordings(turn)
            train[name] |= {whole, last}
            short[name].add(last)
        if said and index % 997 == 0:
            samples.append(f"{name}: {masked(said[0])}")
    print("\n".join(samples[: options.samples]))
    spoken: set[str] = set()
    seen: list[str] = []
    for name, found in sorted(train.items()):
        leaked = held.get(ENDS.get(name, name), set()) & found
        seen += [f"{name}: {each}" for each in sorted(leaked)]
        spoken |= {word for each in found for word in re.findall(r"[a-z']+", each)}
        print(f"{name:16} {len(short[name]):7,} wordings, {first[name] / turns[name]:4.0%} of the asks are first turns")
    missing = {word for found in held.values() for each in found for word in re.findall(r"[a-z']+", each)} - spoken
    print(f"{sum(len(each) for each in held.values()):,} held-out wordings; words that no training wording has: {', '.join(sorted(missing)) or 'none'}")
    if seen:
        raise SystemExit("held-out wordings in training:\n" + "\n".join(seen))
    print("no held-out wording in training")


if __name__ == "__main__":
    main()
