"""What is asked about things that stand in the chat, in training and in held-out wordings."""
from __future__ import annotations

from . import house
from .house import Quantity
from .phrasing import Asks

_BEST = {"temperature": ("warmest", "coldest"), "humidity": ("most humid", "driest"), "soil moisture": ("wettest", "driest"), "CO2 level": ("stuffiest", "freshest"),
         "brightness": ("brightest", "darkest"), "power use": ("hungriest", "thriftiest"), "water level": ("fullest", "emptiest"), "noise level": ("loudest", "quietest"),
         "battery charge": ("fullest", "emptiest")}


def _which(quantity: Quantity, is_most: bool) -> Asks:
    word = "highest" if is_most else "lowest"
    end = "[largest|biggest|greatest|top|most]" if is_most else "[smallest|least|bottom]"
    best = _BEST.get(quantity.name, (word, word))[0 if is_most else 1]
    return Asks(
        [f"Tell me where the {{q}} is the {word}.", f"Name the place with the {word} {{q}}."],
        say=[f"{word} {{q}}?", f"the {word} {{q}}: where?", f"who has the {word} {{q}}?", f"which one is it with the {word} {{q}}?", f"of these, which is the {best}?", f"{best}?", f"the {best}, please."],
        do=[f"name the one with the {word} {{q}}", f"name the [place|room] that has the {word} {{q}}", f"find the place with the {word} {{q}}", f"find the {best} [one|place]", f"pick the [one|place] with the {word} {{q}}",
            f"name the [{word}|{best}] [one|of them]", f"choose the {best} of them", f"compare them and name the {best}"],
        know=[(f"where is it {best}", f"where it is {best}"), (f"where is it {word}", f"where it is {word}"), (f"where is the {{q}} {word}", f"where the {{q}} is {word}"), (f"where is the {word} {{q}}", f"where the {word} {{q}} is"),
              (f"which has the {word} {{q}}", f"which has the {word} {{q}}"), (f"which [place|one] has the {word} [value|{{q}}]", f"which [place|one] has the {word} [value|{{q}}]"),
              (f"which [one|place|of them] is the [{word}|{best}]", f"which [one|place|of them] is the [{word}|{best}]"), (f"which value is the {end}", f"which value is the {end}"),
              (f"what place has the {word} {{q}}", f"what place has the {word} {{q}}")],
        what=[f"the place with the {word} [value|reading]", f"the [{best}|{word}] [one|place|of them]"],
    )


WHICH = {(quantity.name, is_most): _which(quantity, is_most) for quantity in house.QUANTITIES for is_most in (True, False)}
WHICH_MORE = Asks(
    [],
    say=["which is {more}?", "where is it {more}?", "which of them is {more}?", "which one is {more}?", "which [place|room] is {more}?", "which of the two is {more}?", "{more}: which one?", "who is {more}?"],
    do=["say which is {more}", "name the one that is {more}"],
    know=[("which is {more}", "which is {more}"), ("where is it {more}", "where it is {more}"), ("which [place|one] is {more}", "which [place|one] is {more}")],
)
COMPARE = Asks(
    ["Would you say {a} is {more} than {b}?", "Tell me whether {a} is {more} than {b}."],
    say=["{a} {more} than {b}?", "{a} {more} than {b}, yes or no?", "yes or no: is {a} {more} than {b}?", "yes or no: {a} is {more} than {b}.", "is it true that {a} is {more} than {b}?", "{a} is {more} than {b}, is it not?", "would you say it is {more} in {a} than in {b}?",
         "would you [call|find] {a} {more} than {b}?", "I [think|say|believe] {a} is {more} than {b}. Is that right?", "compare {a} and {b}: is the first {more}?", "is {a} the {more} one of {a} and {b}?", "do you [think|believe] {a} is {more} than {b}?"],
    do=["[say|check|see] whether {a} is {more} than {b}", "[say|check|see] if it is {more} in {a} than in {b}", "compare: is {a} {more} than {b}", "tell me: is {a} {more} than {b}"],
    know=[("is it {more} in {a} than in {b}", "whether it is {more} in {a} than in {b}"), ("is {a} [really|also|now|] {more} than {b}", "whether {a} is [really|also|now] {more} than {b}"),
          ("is {a} {more} or not, next to {b}", "whether {a} is the {more} of the two, next to {b}"), ("compared with {b}, is {a} {more}", "whether {a} is {more} compared with {b}"), ("is {a} {more} compared to {b}", "whether, compared to {b}, {a} is {more}")],
)
ABOVE = Asks(
    ["Has {a} a {q} {than} {n} {unit}?", "Is it {than} {n} {unit} in {a}?"],
    say=["{a}: {than} {n}?", "{a} {than} {n} {unit}?", "{q} of {a} {than} {n}?", "yes or no: is {a} {than} {n} {unit}?", "{a} {than} {n}, yes or no?", "is it true that {a} is {than} {n} {unit}?", "would you say {a} is {than} {n}?", "I think {a} is {than} {n} {unit}. Right?"],
    do=["[say|check|see] whether {a} is {than} {n} {unit}", "[say|check|see] if the {q} [in|of] {a} is {than} {n}"],
    know=[("is {a} {than} {n} [{unit}|]", "whether {a} is {than} {n} {unit}"), ("is the {q} in {a} {than} {n}", "whether the {q} in {a} is {than} {n}"), ("is the {q} of {a} {than} {n} {unit}", "whether the {q} of {a} is {than} {n} {unit}"),
          ("does {a} have a {q} {than} {n}", "whether {a} has a {q} {than} {n}"), ("is there a {q} {than} {n} {unit} in {a}", "whether there is a {q} {than} {n} {unit} in {a}"), ("is it {than} {n} in {a}, or not", "whether it is {than} {n} {unit} in {a} or not")],
)
DIFFERENCE = Asks(
    ["By how much do {a} and {b} differ?", "Tell me the difference between {a} and {b}."],
    say=["difference of {a} and {b}?", "{a} and {b}: the difference?", "how far is it from {a} to {b}?", "{a} against {b}: how much {more}?", "how much is between {a} and {b}?", "{a} and {b}, how far apart?", "the {q} of {a} and of {b}: how far do they differ?",
         "I need the difference between {a} and {b}.", "do {a} and {b} differ, and by how much?", "by what do {a} and {b} differ?", "by how much is {a} {more} than {b}?"],
    do=["[work out|calculate|compute|find|give me] the difference [of|between] {a} and {b}", "compare {a} and {b} and give the difference", "subtract the smaller of {a} and {b} from the larger", "say how much {more} {a} is than {b}"],
    know=[("how much {more} is {a} than {b}", "how much {more} {a} is than {b}"), ("how far apart are {a} and {b}", "how far apart {a} and {b} are"), ("how much do {a} and {b} differ", "how much {a} and {b} differ"),
          ("how large is the difference between {a} and {b}", "how large the difference between {a} and {b} is"), ("how big is the gap between {a} and {b}", "how big the gap between {a} and {b} is"),
          ("how much do {a} and {b} differ in {q}", "by how much {a} and {b} differ in {q}"), ("how different are {a} and {b}", "how different {a} and {b} are")],
    what=["the difference [in {q}|] between {a} and {b}", "the difference of {a} and {b}", "the difference from {a} to {b}", "the gap between {a} and {b}"],
)
RECALL = Asks(
    ["What did {a} have?"],
    say=["and {a}?", "{a}?", "{a}, please.", "and in {a}?", "{q} of {a}?", "which value had {a}?", "what about {a}?", "now {a}.", "what was it in {a}?", "what did you read for {a}?", "what did I say of {a}?", "what did they measure in {a}?", "did {a} have a value? Which?"],
    do=["read me the value of {a}", "repeat the {q} of {a}", "look up {a}", "look for {a} in this", "say again what {a} has"],
    know=[("how is {a}", "how {a} is"), ("what is the {q} in {a}", "what the {q} in {a} is"), ("what does {a} have", "what {a} has"), ("what value did {a} have", "what value {a} had"), ("which {q} did {a} have", "which {q} {a} had"), ("what was the {q} of {a}", "what the {q} of {a} was"),
          ("what is it in {a}", "what it is in {a}"), ("what is measured in {a}", "what is measured in {a}"), ("what has {a}", "what {a} has")],
    what=["the {q} [in|of] {a}", "the value [of|for] {a}", "the reading of {a}", "the number for {a}"],
)
SUM = Asks(
    ["Add {a} and {b}.", "What do {a} and {b} make together?"],
    say=["{a} + {b}", "{a} plus {b}?", "{a} + {b}?", "{a} and {b}?", "{a} and {b} together?", "{a} plus {b} makes what?", "how much are {a} and {b}?", "{a} and {b} more?", "{a} + {b} =", "I have {a} and get {b} more. How many do I have?", "what do you get for {a} plus {b}?", "add: {a} and {b}", "add up {a}, {b}"],
    do=["add {b} to {a}", "add {a} to {b}", "add up {a} and {b}", "add {a} plus {b}", "sum up {a} and {b}", "calculate {a} + {b}", "work out {a} plus {b}", "put {a} and {b} together", "count {a} and {b} together", "compute {a} plus {b}", "add the numbers {a} and {b}"],
    know=[("what is {a} [+|plus|and] {b}", "what {a} [+|plus|and] {b} is"), ("how much is {a} [+|plus|and] {b}", "how much {a} [+|plus|and] {b} is"), ("what does {a} plus {b} make", "what {a} plus {b} makes"), ("how much do {a} and {b} make", "how much {a} and {b} make"),
          ("what are {a} and {b} together", "what {a} and {b} are together"), ("how many are {a} and {b} together", "how many {a} and {b} are together")],
    what=["the sum of {a} and {b}", "{a} plus {b}", "the total of {a} and {b}"],
)
MINUS = Asks(
    ["Take {b} from {a}."],
    say=["{a} - {b}", "{a} minus {b}?", "{a} - {b}?", "{a} less {b}?", "from {a} take away {b}.", "{a} minus {b} makes what?", "I have {a} and give away {b}. How many are left?", "{a} - {b} =", "what do you get for {a} minus {b}?", "from {b} to {a}, how far?", "{a}, take away {b}"],
    do=["take {b} away from {a}", "take away {b} from {a}", "subtract {b} from {a}", "calculate {a} - {b}", "work out {a} minus {b}", "compute {a} minus {b}", "deduct {b} from {a}", "start at {a} and take {b} off"],
    know=[("what is {a} [-|minus|less] {b}", "what {a} [-|minus|less] {b} is"), ("how much is {a} [-|minus] {b}", "how much {a} [-|minus] {b} is"), ("what is left of {a} without {b}", "what is left of {a} without {b}"), ("how much more is {a} than {b}", "how much more {a} is than {b}"),
          ("how many are left when I take {b} from {a}", "how many are left when I take {b} from {a}")],
    what=["the difference of {a} and {b}", "the difference between {a} and {b}", "{a} minus {b}"],
)


def _degrees(held: str, sign: str, name: str, to_sign: str, to_name: str) -> Asks:
    both, to = f"[{sign}|degrees {name}|degrees of {name}]", f"[{to_sign}|{to_name}|degrees {to_name}]"
    return Asks(
        [held],
        say=[f"{{n}} {sign} in {to_sign}?", f"{{n}} {both} in {to}?", f"{to} for {{n}} {sign}?", f"{{n}} {sign}: how many {to_sign}?", f"{{n}} {both}, and in {to}?", f"{{n}} {both} to {to}"],
        do=[f"convert {{n}} {both} to {to}", f"turn {{n}} {both} into {to}", f"write {{n}} {both} in {to}", f"change {{n}} {both} to {to}", f"give me {{n}} {both} in {to}", f"express {{n}} {both} in {to}"],
        know=[(f"what is {{n}} {both} in {to}", f"what {{n}} {both} is in {to}"), (f"how many degrees {to_name} are {{n}} {both}", f"how many degrees {to_name} {{n}} {both} are"), (f"how much is {{n}} {both} in {to}", f"how much {{n}} {both} is in {to}"),
              (f"how many {to_sign} is {{n}} {both}", f"how many {to_sign} {{n}} {both} is"), (f"how many {to_sign} are there in {{n}} {both}", f"how many {to_sign} there are in {{n}} {both}")],
        what=[f"{{n}} {both} in {to}"],
    )


FAHRENHEIT = _degrees("How many °F are {n} °C?", "°C", "Celsius", "°F", "Fahrenheit")
CELSIUS = _degrees("How many °C are {n} °F?", "°F", "Fahrenheit", "°C", "Celsius")
UNIT = Asks(
    ["What is {n} {large} in {small}?"],
    say=["{n} {large} in {small}?", "{n} {large}: how many {small}?", "{n} {large} to {small}", "{n} {large} makes how many {small}?", "how many {small} for {n} {large}?", "{n} {large} are what in {small}?"],
    do=["convert {n} {large} [to|into] {small}", "turn {n} {large} into {small}", "write {n} {large} in {small}", "change {n} {large} to {small}", "express {n} {large} in {small}", "calculate how many {small} are in {n} {large}"],
    know=[("how many {small} are {n} {large}", "how many {small} {n} {large} are"), ("how many {small} are there in {n} {large}", "how many {small} there are in {n} {large}"), ("how much is {n} {large} in {small}", "how much {n} {large} is in {small}"),
          ("how many {small} do {n} {large} have", "how many {small} {n} {large} have"), ("what are {n} {large} in {small}", "what {n} {large} are in {small}"), ("how many {small} make {n} {large}", "how many {small} make {n} {large}")],
    what=["the number of {small} in {n} {large}"],
)
_IT = "[this|it|that|these values|these readings|the values|these numbers]"
SUMMARY = Asks(
    ["Make a short summary of it.", "What happened here?"],
    say=["summary, please.", "summary?", "short summary, please.", "a [short|brief|quick] summary of this.", "in short?", "in one sentence?", "tell me what happened.", "and what happened?", "what happened there?", "your summary?", "what was going on here?"],
    do=[f"summarise {_IT}", f"sum {_IT} up", f"make a summary of {_IT}", f"give me a [short|brief|quick|] summary [of this|]", f"write a [short|brief|] summary of {_IT}", "put this in one sentence", f"describe {_IT} in short", "say in short what happened",
        f"tell me what {_IT} say", "make it short", f"explain {_IT}", f"report on {_IT}", f"sum up {_IT}"],
    know=[("what does this say", "what this says"), ("what does it show", "what it shows"), ("what has happened [here|]", "what has happened [here|]"), ("how did it go", "how it went"), ("what do these values [say|show|mean]", "what these values [say|show|mean]"),
          ("how did it change", "how it changed"), ("what is the trend", "what the trend is"), ("what happened with it", "what happened with it")],
    what=["a summary of this", "a short summary"],
)
STATE_IS = Asks(
    ["Tell me whether the {t} of {a} is {s}.", "Answer yes or no: is the {t} of {a} {s}?"],
    say=["{a}: is the {t} {s}? Answer yes or no.", "is the {t} {s} in {a}? Yes or no?", "yes or no: is the {t} in {a} {s}?", "answer with yes or no: the {t} of {a} is {s}.", "{t} of {a} {s}?", "{a}, {t}: {s}?", "is it true that the {t} of {a} is {s}?", "the {t} of {a} is {s}, is it not?",
         "I think the {t} of {a} is {s}. Right?", "did somebody leave the {t} of {a} {s}?", "is the {t} of {a} {s}? Answer in one word.", "do I find the {t} of {a} {s}?", "answer: is {a} with its {t} {s}?"],
    do=["[check|say|see] whether the {t} of {a} is {s}", "[check|say|see] if the {t} [in|of] {a} is {s}", "answer whether the {t} in {a} is {s}"],
    know=[("is the {t} of {a} {s}", "whether the {t} in {a} is {s}"), ("is the {t} {s} in {a}", "whether, in {a}, the {t} is {s}"), ("is the {t} in {a} [now|still|really|] {s}", "whether the {t} in {a} is [now|still|really|] {s}"), ("does {a} have its {t} {s}", "whether {a} has its {t} {s}"),
          ("was the {t} of {a} {s}", "whether the {t} of {a} was {s}")],
)
STATE_WHICH = Asks(
    ["{x} or {y}: the {t} of {a}?"],
    say=["choose: {x} or {y}, the {t} of {a}?", "the {t} of {a}: {x} or {y}?", "{t} of {a}, {x} or {y}?", "{a}: {t} {x} or {y}?", "{x} or {y}, the {t} in {a}?", "one word, {x} or {y}: how is the {t} of {a}?", "the {t} in {a}?", "and the {t} of {a}?", "is it {x} or {y}, the {t} of {a}?"],
    do=["choose [{x} or {y}|between {x} and {y}] for the {t} of {a}", "[say|answer] [{x} or {y}|with {x} or {y}]: the {t} in {a}?", "check the {t} of {a}", "choose what the {t} of {a} is, {x} or {y}"],
    know=[("is the {t} of {a} {x} or {y}", "whether the {t} of {a} is {x} or {y}"), ("in which state is the {t} of {a}", "in which state the {t} of {a} is"), ("how is the {t} of {a}", "how the {t} of {a} is"), ("which is it for the {t} of {a}, {x} or {y}", "which it is for the {t} of {a}, {x} or {y}"),
          ("what is the {t} of {a}, {x} or {y}", "what the {t} of {a} is, {x} or {y}")],
    what=["the state of the {t} [in|of] {a}"],
)
CHOICE = Asks(
    ["One of these is {a}. Which one? {commas}.", "Pick the {k} from {ands}."],
    say=["which of these is {a}: {ors}?", "{commas}: which one is {a}?", "{commas}. Which [one|of these|of them] is {a}?", "which is {a}, {ors}?", "one of {ands} is {a}. Which?", "one of them is {a}: {commas}.", "what is {a} here: {ors}?", "{ors}: which is the {k}?", "the {k} is which one: {ors}?",
         "{ands}: pick the {k}.", "here are {ands}. Which one is {a}?", "is the {k} {ors}?", "{commas}. The {k}?", "one of these words means {a}. Which one: {commas}?", "there is one {k} in {commas}. Which one is it?", "among {ands}, which is {a}?", "which one is {a}? {commas}."],
    do=["choose the {k}: {commas}.", "choose the {k} [from|out of|among] {ands}", "pick the {k}: {commas}.", "pick the one that is {a}: {commas}.", "find the {k}: {commas}.", "find the {k} in {commas}", "select the {k} from {commas}", "pick out the {k} [from|among] {commas}", "name the {k}: {commas}.",
        "take the {k} from {ands}", "name the one that is {a}: {ors}.", "say which is {a}: {ors}."],
    know=[("which of {ands} is {a}", "which of {ands} is {a}"), ("which one of {commas} is {a}", "which one of {commas} is {a}")],
)
TOLD = Asks(
    ["We measured {v} {u} in {a}."],
    say=["it is {v} {u} in {a}.", "{a} has {v} {u}.", "{p}: {v} {u}.", "in {a} it is {v} {u}.", "the {q} in {a} is {v} {u}.", "I measured {v} {u} [for|at] {a}.", "we have {v} {u} in {a}.", "{v} {u} in {a}.", "{a}: {v} {u}.", "we found {v} {u} in {a}.", "they measured {q} in {a}: {v} {u}.", "it was {v} {u} in {a}.",
         "the sensor in {a} says {v} {u}.", "I read {v} {u} in {a}.", "there are {v} {u} in {a}.", "{a} is at {v} {u}."],
)
_AS_JSON = "[as|in|as one] JSON"
JSON = Asks(
    ["Return a JSON object with {k}.", "Put it into JSON ({k})."],
    say=["JSON with {k}, please.", "JSON: {k}.", "JSON ({k}), please.", "as JSON with {k}.", "JSON object: {k}.", "only JSON: {k}.", "{k} as JSON.", "as a JSON object ({k}).", "I [need|want] it as JSON with {k}.", "the keys are {k}. Answer in JSON."],
    do=[f"answer {_AS_JSON} with {{k}}", f"write [it|this|that] {_AS_JSON}: {{k}}.", f"write [it|this] {_AS_JSON} with the keys {{k}}", "give me JSON with [the keys|] {k}", "give me a JSON object with {k}", "return JSON with {k}", "return it as JSON ({k})", "return {k} as [a|one] JSON object",
        "put [this|that] into JSON with {k}", "put it as JSON: {k}.", "turn [it|this] into JSON with [the keys|] {k}", "make [a|one] JSON object [of it|] with {k}", "make JSON of it ({k})", "format [it|this] as JSON with {k}", "convert [it|this] to JSON: {k}.", "answer with a JSON object: {k}.",
        f"say it {_AS_JSON} ({{k}})", "fill a JSON object with {k}", "return an object in JSON that has {k}"],
    what=["[it|this|that] as JSON with {k}", "a JSON object that has {k}"],
)
