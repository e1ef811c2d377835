"""Makes notes, and queries that mean them, from a seed. What a note says is a fact: a frame with a value in each slot.
A value is an idea of the lexicon with several names, or something that no lexicon has: a name, a code, a number."""

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
OPEN = ("name", "city", "word", "code", "money", "date", "time", "num", "phone")
SLOT = re.compile(r"\{(\w+)\}")


@dataclass
class Frame:
    name: str
    slots: dict
    held: bool
    templates: dict = field(default_factory=lambda: {"n": [], "q": [], "N": [], "Q": []})

    def of(self, kind, part):
        """Templates of a kind: `train`, or `test` for those that the training never sees."""
        every = self.templates[kind]
        kept = {"n": 2, "q": 3, "N": 1, "Q": 1}[kind]
        if self.held:
            return every
        return every[-kept:] if part == "test" else every[:-kept]


def read_lexicon():
    """Category → ideas → language → names."""
    lexicon, category = {}, None
    for line in (HERE / "lexicon.txt").read_text().splitlines():
        if line.startswith("["):
            category = lexicon.setdefault(line.strip("[]"), [])
        elif line.strip() and not line.startswith("#"):
            languages = [[name.strip() for name in part.split(",")] for part in line.split(";")]
            category.append({"en": languages[0], "fr": languages[1]})
    return lexicon


def read_frames():
    frames = []
    for line in (HERE / "frames.txt").read_text().splitlines():
        head = re.match(r"(held )?frame (\w+): (.*)", line)
        if head:
            slots = dict(pair.split("=") for pair in head[3].split())
            frames.append(Frame(head[2], slots, bool(head[1])))
        elif line[:2] in ("n ", "q ", "N ", "Q "):
            frames[-1].templates[line[0]].append(line[2:])
    return frames


LEXICON, FRAMES = read_lexicon(), read_frames()
# the longer words of the trained frames, without accents
KNOWN = sorted(
    {
        word
        for kind in {kind for frame in FRAMES if not frame.held for kind in frame.slots.values()} - set(OPEN)
        for idea in LEXICON[kind]
        for names in idea.values()
        for name in names
        for word in re.findall(r"[a-z]{4,}", name)
    }
)

# syllables of made-up names; those of the held-out notes are others
ONSETS = {
    "train": "b d f g k l m n p r s t v j h br dr gr kr st tr fl pl sh ch".split(),
    "test": "b d g k l m n r s t v z w y th pr kl sk fr gl zh qu".split(),
}
VOWELS = {"train": "a e i o u ai ea io ou ie".split(), "test": "a e i o u y au ei oa ue ay".split()}
CODAS = {
    "train": ["", "", "", "n", "r", "s", "l", "m", "rt", "nd", "ll"],
    "test": ["", "", "", "n", "k", "t", "x", "sk", "th", "rn", "mp", "ss"],
}
FIRST = {
    "train": "Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Karin Leo Mia Noah Olga Paul Rosa Simon Tina Ulrich Vera Walter "
    "Alice Bruno Camille Denis Elise Gilles Jeanne Louis Manon Pierre Sophie Marc Tom Lucy Jack Grace Harry Amir Fatima Yusuf Leila "
    "Ivan Katya Marek Chen Mei Kenji Yuki Ravi Priya Carlos Maria Diego Lucia Paolo Giulia Lars Ingrid".split(),
    "test": "Agnes Boris Celine Dorian Edith Florian Gwen Henri Isolde Jasper Kirsten Lorenz Mathilde Nils Ottilie Quentin Romy Sven "
    "Thibault Ursula Viktor Wanda Xavier Yvonne Zoe Oscar Ruby Freya Callum Aisha Omar Nadia Tariq Olena Piotr Hana Minh Asha".split(),
}
CITIES = {
    "train": "Paris,London,Berlin,Madrid,Rome,Vienna,Prague,Lisbon,Dublin,Oslo,Athens,Lyon,Munich,Milan,Geneva,Brussels,Hamburg,Porto,"
    "Naples,Seville,Bordeaux,Nice,Krakow,Budapest,Edinburgh,Bergen,Florence,Salzburg,Basel,Antwerp,Marseille,New York,Tokyo,Toronto".split(
        ","
    ),
    "test": "Copenhagen,Stockholm,Helsinki,Warsaw,Zurich,Turin,Bilbao,Nantes,Strasbourg,Leipzig,Ghent,Riga,Vilnius,Tallinn,Zagreb,"
    "Ljubljana,Bratislava,Cork,Cardiff,Bristol,Rotterdam,Valencia,Palermo,Split,Innsbruck,Montreal,Boston,Kyoto".split(
        ","
    ),
}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
JOURS = "lundi mardi mercredi jeudi vendredi samedi dimanche".split()
MONTHS = "January February March April May June July August September October November December".split()
MOIS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()


def made_up(rng, part, low=2, high=3):
    return "".join(
        rng.choice(ONSETS[part]) + rng.choice(VOWELS[part]) + (rng.choice(CODAS[part]) if rng.random() < 0.6 else "")
        for _ in range(rng.randint(low, high))
    ).capitalize()


def open_value(rng, kind, part, language):
    """A value that no lexicon has, as text."""
    if kind == "name":
        first = rng.choice(FIRST[part]) if rng.random() < 0.7 else made_up(rng, part, 2, 2)
        return f"{first} {made_up(rng, part)}" if rng.random() < 0.5 else first
    if kind == "city":
        return rng.choice(CITIES[part]) if rng.random() < 0.6 else made_up(rng, part)
    if kind == "word":
        return made_up(rng, part)
    if kind == "code":
        letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(0, 3)))
        digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(3, 6)))
        return letters + rng.choice(["", "-"]) + digits if letters else digits
    if kind == "money":
        amount = rng.choice([rng.randint(2, 99), rng.randint(100, 1900), round(rng.uniform(2, 300), 2)])
        return f"{amount} euros" if rng.random() < 0.6 else f"{amount} €"
    if kind == "date":
        day, month = rng.randint(1, 28), rng.randrange(12)
        if rng.random() < 0.4:
            return rng.choice(DAYS if language == "en" else JOURS)
        return f"{day} {(MONTHS if language == 'en' else MOIS)[month]}"
    if kind == "time":
        return f"{rng.randint(7, 21)}:{rng.choice(['00', '15', '30', '45'])}"
    if kind == "num":
        return str(rng.choice([rng.randint(2, 12), rng.randint(13, 250)]))
    return "0" + " ".join(str(rng.randint(10, 99)) for _ in range(4))


@dataclass
class Fact:
    frame: Frame
    part: str
    language: str
    values: dict  # slot → index of an idea, or text


@dataclass
class Text:
    text: str
    # slot → the name that was used for its idea
    named: dict


def blend(rng):
    """A word that no lexicon has, and that looks as if one had: the beginning of a word with the end of another."""
    first, last = (rng.choice(KNOWN) for _ in range(2))
    return first[: rng.randint(2, 4)] + last[-rng.randint(2, 5) :]


def make_fact(rng, part, frame, language, near=None):
    """A new fact; with `near`, one that shares values with it, so that only what differs can tell the two apart. Now and
    then a fact of the training speaks of things that nobody knows: only their wording can find it."""
    unknown = 0.4 if part == "train" and rng.random() < 0.3 else 0
    values = {}
    for slot, kind in frame.slots.items():
        if near is not None and rng.random() < 0.5:
            values[slot] = near.values[slot]
        elif kind in OPEN:
            values[slot] = open_value(rng, kind, part, language)
        elif rng.random() < unknown:
            values[slot] = " ".join(blend(rng) for _ in range(rng.choice([1, 1, 2])))
        else:
            values[slot] = rng.randrange(len(LEXICON[kind]))
    if isinstance(values.get("food2"), int) and values["food2"] == values["food"]:
        values["food2"] = (values["food2"] + 1) % len(LEXICON["food"])
    return Fact(frame, part, language, values)


def fill(rng, fact, template, language, avoid=None, keep=None):
    """The template with the fact's values: by names other than those in `avoid`, or by those in `keep`."""
    named = {}
    for slot in SLOT.findall(template):
        value, kind = fact.values[slot], fact.frame.slots[slot]
        if isinstance(value, str):
            named[slot] = value
            continue
        names = LEXICON[kind][value][language]
        if keep is not None and slot in keep:
            named[slot] = keep[slot]
        else:
            others = [name for name in names if avoid is None or name != avoid.get(slot)]
            named[slot] = rng.choice(others or names)
    text = SLOT.sub(lambda match: named[match[1]], template)
    return Text(text[0].upper() + text[1:] if template[0] == "{" and rng.random() < 0.5 else text, named)


def make_note(rng, fact):
    return fill(rng, fact, rng.choice(fact.frame.of("n" if fact.language == "en" else "N", fact.part)), fact.language)


def make_query(rng, fact, note, language, words="any"):
    """A query by a template, about what the note shows; `words` says whether it may name things as the note does: `any`,
    `other`, `same`. Returns the text and the slots that it mentions; nothing when no template fits the note."""
    templates = [(one, SLOT.findall(one)) for one in fact.frame.of("q" if language == "en" else "Q", fact.part)]
    fitting = [(one, slots) for one, slots in templates if all(slot in note.named for slot in slots)]
    if not fitting:
        return None
    template, slots = rng.choice(fitting)
    same = language == fact.language
    made = fill(
        rng,
        fact,
        template,
        language,
        avoid=note.named if words == "other" and same else None,
        keep=note.named if words == "same" and same else None,
    )
    text = made.text
    for slot, kind in fact.frame.slots.items():
        # people are mostly called by one name
        if kind == "name" and slot in made.named and " " in made.named[slot] and rng.random() < 0.5:
            text = text.replace(made.named[slot], rng.choice(made.named[slot].split()))
    if text.endswith("?") and rng.random() < 0.4:
        text = text.rstrip(" ?")
    return text[0].lower() + text[1:] if rng.random() < 0.5 else text, tuple(slots)


WORDS = re.compile(r"[^\W_]+")
STOP = set(
    "the a an of in on at to for is was are were it we i and with by from that so our my you be has have had not this did do does "
    "le la les de du des un une et en à au aux dans pour par est sur nous avons avec ce il elle que qui".split()
)


def fold(text):
    """Lower case without accents: what both the baseline and the tokenizer make of a text."""
    flat = unicodedata.normalize("NFD", text)
    return "".join(c for c in flat if unicodedata.category(c) != "Mn").lower()


def words_of(text):
    return WORDS.findall(fold(text))


def exact_query(rng, note, low=2, high=5):
    """Some words of the note itself, as one types them into a search box."""
    words = [word for word in dict.fromkeys(words_of(note.text)) if word not in STOP]
    chosen = rng.sample(range(len(words)), min(len(words), rng.randint(low, high)))
    if rng.random() < 0.6:
        chosen.sort()
    return " ".join(words[i] for i in chosen)


def mistype(rng, text):
    """One slip of the fingers, in a word of at least five letters."""
    places = [m.start() + i for m in re.finditer(r"\w{5,}", text) for i in range(1, len(m[0]) - 1)]
    if not places:
        return text
    at = rng.choice(places)
    return rng.choice(
        [
            text[:at] + text[at + 1 :],
            text[:at] + text[at + 1] + text[at] + text[at + 2 :],
            text[:at] + text[at] + text[at:],
        ]
    )


OPENINGS = [
    "Note: ",
    "Reminder: ",
    "FYI ",
    "To remember. ",
    "From the chat: ",
    "Update: ",
    "Important! ",
    "PS: ",
    "Hi! ",
    "Ok. ",
    "Notice for all of us: ",
    "Just so that we know: ",
]


# what notes say besides, and what people write around a question: it names no idea of the lexicon
BESIDE = [
    "It took the whole afternoon.", "Do not ask me why.", "I will look at it once more.", "Not sure about the rest.",
    "Everybody agreed in the end.", "More on this later.", "That was close!", "Worth remembering for the next time.",
    "The others know as well.", "I had to laugh.", "We talked about it for half an hour.", "No idea how that came about.",
    "See the other page.", "Nothing else to do for now.", "It could have been worse.", "Thanks to all who were there.",
    "On va voir.", "À vérifier encore une fois.", "Rien d'autre pour le moment.", "Merci à tous.",
]  # fmt: skip
BEFORE = [
    "can you tell me ", "please ", "I forgot: ", "I want to know ", "do you remember ", "I think I wrote down ",
    "there was something about this, ", "help me find ", "search: ", "hello, ", "one more time: ", "dis-moi ",
]  # fmt: skip
AFTER = [
    " again",
    " please",
    " I forgot",
    " in case we need it",
    " for next time",
    " back then",
    " exactly",
    " roughly",
    " s'il te plaît",
]


def asked(rng, query):
    """A query as people write it: with some words around."""
    if rng.random() < 0.25:
        query = rng.choice(BEFORE) + query
    if rng.random() < 0.2:
        query = query.rstrip(" ?") + rng.choice(AFTER)
    return query


def around(rng, text, others):
    """A text with an opening, another note, or empty words beside it, as real notes have more than one thing in them."""
    if rng.random() < 0.2:
        text = rng.choice(OPENINGS) + text
    parts = [text, *others]
    if rng.random() < 0.25:
        parts.append(rng.choice(BESIDE))
    if rng.random() < 0.4:
        rng.shuffle(parts)
    return " ".join(parts)


def means(fact, slots, other):
    """Does a query for `fact` that mentions `slots` mean `other` as well?"""
    if fact.frame is not other.frame:
        return False
    for slot in slots:
        mine, theirs = fact.values[slot], other.values[slot]
        if mine == theirs:
            continue
        if isinstance(mine, str) and isinstance(theirs, str) and set(words_of(mine)) & set(words_of(theirs)):
            continue
        return False
    return True
