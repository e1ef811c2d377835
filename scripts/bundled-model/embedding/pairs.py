"""Pairs of a query and its note for the training, and the held-out set of notes and queries for the evaluation."""

import random

from notes import (
    FRAMES,
    around,
    asked,
    exact_query,
    make_fact,
    make_note,
    make_query,
    means,
    mistype,
    words_of,
)

TRAINED = [frame for frame in FRAMES if not frame.held]
HELD = [frame for frame in FRAMES if frame.held]
FRENCH = 0.2


def make_pair(rng, fact):
    """(query, note, slots that the query mentions or None, words of an exact query or None)."""
    note = make_note(rng, fact)
    others = []
    while len(others) < 2 and rng.random() < 0.2:
        beside = make_fact(rng, fact.part, rng.choice(TRAINED), fact.language)
        others.append(make_note(rng, beside).text)
    kind = rng.random()
    text = around(rng, note.text, others)
    if kind < 0.26:
        query = exact_query(rng, note)
        return query, text, None, frozenset(query.split())
    if kind < 0.35:  # the same fact, told once more
        return make_note(rng, fact).text, text, tuple(fact.values), None
    language = fact.language
    if rng.random() < 0.08:
        language = "fr" if language == "en" else "en"
    made = make_query(rng, fact, note, language, "other" if kind < 0.8 else "any")
    if made is None:
        return make_pair(rng, fact)
    query, slots = made
    query = asked(rng, query)
    if rng.random() < 0.08:
        query = mistype(rng, query)
    return query, text, slots, None


def make_batch(rng, size):
    """Pairs of few frames, half of them with a near relative, so that what differs has to be told apart. Also which
    (query, note) are no pair of the batch and yet fit: these must not count as wrong."""
    frames = rng.sample(TRAINED, 8)
    facts, pairs = [], []
    while len(facts) < size:
        language = "fr" if rng.random() < FRENCH else "en"
        fact = make_fact(rng, "train", rng.choice(frames), language)
        facts.append(fact)
        if rng.random() < 0.5:
            facts.append(make_fact(rng, "train", fact.frame, language, near=fact))
    facts = facts[:size]
    pairs = [make_pair(rng, fact) for fact in facts]
    words = [frozenset(words_of(note)) for _, note, _, _ in pairs]
    fits = [
        (i, j)
        for i, (_, _, slots, exact) in enumerate(pairs)
        for j in range(size)
        if i != j and (exact <= words[j] if slots is None else means(facts[i], slots, facts[j]))
    ]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs], fits


def corpus(seed, number):
    """Texts for the tokenizer."""
    rng = random.Random(seed)
    for _ in range(number):
        fact = make_fact(rng, "train", rng.choice(TRAINED), "fr" if rng.random() < FRENCH else "en")
        query, note, _, _ = make_pair(rng, fact)
        yield note
        yield query


def held_out(seed, notes=1000, queries=None):
    """Notes with names, templates and, for a quarter, topics that no training saw, and queries that mean one note each.
    Queries: kind, text, place of the note."""
    rng = random.Random(seed)
    queries = queries or {"paraphrase": 400, "topic": 150, "exact": 300, "french": 120, "cross": 60}
    facts, made = [], []
    for i in range(notes):
        frame = rng.choice(HELD) if i % 4 == 3 else rng.choice(TRAINED)
        # near relatives make it hard: a query must name what differs
        near = next((f for f in reversed(facts) if f.frame is frame), None) if rng.random() < 0.3 else None
        language = near.language if near else ("fr" if rng.random() < FRENCH else "en")
        facts.append(make_fact(rng, "test", frame, language, near))
        made.append(make_note(rng, facts[-1]))
    texts = [around(rng, note.text, []) for note in made]
    bags = [frozenset(words_of(text)) for text in texts]
    found = []
    for kind, wanted in queries.items():
        seen, count = set(), 0
        while count < wanted:
            i = rng.randrange(notes)
            fact, note = facts[i], made[i]
            if kind != "exact" and fact.frame.held != (kind == "topic"):
                continue
            if (fact.language == "fr") != (kind == "french") and kind != "exact":
                continue
            if kind == "exact":
                text = exact_query(rng, note)
                clashes = [j for j in range(notes) if j != i and frozenset(text.split()) <= bags[j]]
            else:
                query = make_query(
                    rng,
                    fact,
                    note,
                    "fr" if kind in ("french", "cross") else "en",
                    "any" if kind == "topic" else "other",
                )
                if query is None:
                    continue
                text, slots = query
                clashes = [j for j in range(notes) if j != i and means(fact, slots, facts[j])]
            if clashes or text in seen:
                continue
            seen.add(text)
            found.append((kind, text, i))
            count += 1
    return texts, found
