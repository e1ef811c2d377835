"""What is asked of tools, in training and in held-out wordings. `{the}` is the place with its article."""
from __future__ import annotations

from .phrasing import Asks

READ = Asks(
    ["Could you look up the {quantity} in {the}?", "What {quantity} does {the} have?", "Check {the} and tell me its {quantity}.",
     "Which {quantity} is there in {the} at the moment?", "I would like to know the {quantity} of {the}."],
    say=["{quantity} in {the}?", "{quantity} of {the}, please.", "{the}: {quantity}?", "{the}, {quantity}", "the {quantity} in {the}", "[any|some] news of the {quantity} in {the}?",
         "what about {the}: which {quantity}?", "how about the {quantity} in {the}?"],
    do=["[check|read|measure|get|fetch|look at|look up] the {quantity} [in|of|for] {the}", "[find out|look up|check] which {quantity} {the} has", "take a look at the {quantity} [in|of] {the}",
        "ask the {quantity} sensor [in|of] {the}", "see what the {quantity} [of|in] {the} is", "look up the [current|present|latest] {quantity} [in|of] {the}", "check {the} for its {quantity}",
        "go to {the} and read the {quantity}", "read me the {quantity} [in|of] {the}", "read the {quantity} sensor [in|of] {the}"],
    know=[("what is the {quantity} in {the} [now|right now|at the moment]", "what the {quantity} in {the} is [now|right now|at the moment]"),
          ("how is the {quantity} in {the}", "how the {quantity} in {the} is"), ("how high is the {quantity} in {the}", "how high the {quantity} in {the} is"),
          ("what does the {quantity} sensor [in|of] {the} [say|show|read]", "what the {quantity} sensor [in|of] {the} [says|shows|reads]"),
          ("what {quantity} [do we|do I|does one] have in {the}", "what {quantity} [we have|I have|there is] in {the}"), ("which {quantity} does {the} have", "which {quantity} {the} has"),
          ("which {quantity} is it in {the}", "which {quantity} it is in {the}"), ("what {quantity} is there in {the}", "what {quantity} there is in {the}"),
          ("where is the {quantity} of {the} [now|today]", "where the {quantity} of {the} is [now|today]"), ("what has {the} for a {quantity}", "what {the} has for a {quantity}")],
    what=["the {quantity} [in|of] {the}", "the {quantity} for {the}", "the [current|present|latest|measured] {quantity} [in|of] {the}", "the value of the {quantity} in {the}", "the reading of {quantity} in {the}",
          "the {quantity} that {the} has", "the {quantity} reading [of|in|for] {the}"],
)
TOO = Asks(
    ["Would you say that {the} is {too}?", "Has it become {too} in {the}?", "Tell me if it is {too} in {the}."],
    say=["{too} in {the}?", "{the}: {too}?", "I [fear|think|believe] it is {too} in {the}. Is it?", "is it true that {the} is {too}?", "it is {too} in {the}, is it not?", "would you say it is {too} [now|today] in {the}?",
         "do you [think|believe|find] it is {too} in {the}?", "do you [think|find] that {the} is {too}?", "could it be {too} in {the}?", "can it be that {the} is {too}?", "someone says {the} is {too}. Is it so?"],
    do=["[check|look|see|find out|measure|say] whether it is {too} in {the}", "[check|look|see|find out] if {the} is {too}", "check {the}: is it {too}", "make sure it is not {too} in {the}"],
    know=[("is it {too} in {the}", "whether it is {too} in {the}"), ("is {the} {too}", "whether {the} is {too}"), ("is it [now|already|still] {too} in {the}", "whether it is [now|already|still] {too} in {the}"),
          ("has {the} become {too}", "whether {the} has become {too}"), ("is it getting {too} in {the}", "whether it is getting {too} in {the}"), ("did it become {too} in {the}", "whether it became {too} in {the}")],
)
_HOW = {"temperature": "warm", "humidity": "humid", "brightness": "bright", "noise level": "loud"}


def _how(word: str) -> Asks:
    return Asks([f"How {word} is it in {{the}}?"], know=[(f"how {word} is it [now|right now|at the moment|today] in {{the}}", f"how {word} it is in {{the}}"),
                (f"how {word} is {{the}}", f"how {word} {{the}} is")], say=[f"how {word} in {{the}}?", f"{{the}}: how {word} is it?"])


HOW = {
    **{name: _how(word) for name, word in _HOW.items()},
    "water level": Asks(["How full is {the}?"], know=[("how full is {the} [now|today]", "how full {the} is"), ("how much water is in {the}", "how much water is in {the}")], say=["{the}: how full?"]),
    "soil moisture": Asks(["How wet is the soil in {the}?"], know=[("how wet is the [ground|earth] in {the}", "how wet the [soil|ground|earth] in {the} is"), ("how moist is the soil in {the}", "how moist the soil in {the} is")]),
}
BOTH = Asks(
    ["I need the {quantity} of both {a} and {b}.", "Give me the {quantity} in {a}, and in {b} too."],
    say=["{quantity} in {a} and {b}?", "{quantity}: {a} and {b}?", "{a} and {b}: {quantity}?", "{quantity} of {a}, and of {b} as well?", "both {a} and {b}: {quantity}?", "{quantity} of both {a} and {b}, please.", "which {quantity} has {a}, and which {b}?",
         "how do {a} and {b} compare in {quantity}?", "which has the [higher|lower] {quantity}, {a} or {b}?", "I need two values: the {quantity} of {a} and of {b}."],
    do=["[check|read|get|measure|look up] the {quantity} [in|of] {a} and [in|of] {b}", "[check|read] the {quantity} in both places: {a} and {b}", "compare the {quantity} [in|of] {a} and {b}", "compare {a} and {b} in {quantity}",
        "read the {quantity} of {a}, then of {b} too"],
    know=[("what is the {quantity} in {a} and in {b}", "what the {quantity} in {a} and in {b} is"), ("how is the {quantity} in {a} and {b}", "how the {quantity} in {a} and {b} is"),
          ("what do the {quantity} sensors of {a} and {b} say", "what the {quantity} sensors of {a} and {b} say")],
    what=["the {quantity} [in|of] {a} and {b}", "the {quantity} [in|of] {a} and [in|of] {b}", "the {quantity} of {a} and that of {b}", "the {quantity} in {a} and the one in {b}", "both the {quantity} of {a} and of {b}",
          "the {quantity} in {a} as well as in {b}", "the {quantity} for {a} and for {b} too",
          "the {quantity} [of|in] both {a} and {b}", "the {quantity} in {a}, and in {b} as well", "the {quantity} of {a}, and of {b} too", "the {quantity} of both, {a} and {b}"],
)
BOTH_KINDS = Asks([], say=["{q} and {r} in {the}?", "{the}: {q} and {r}?"], do=["[check|read|get|look up] the {q} and the {r} [in|of] {the}"], what=["the {q} and the {r} [in|of] {the}", "both the {q} and the {r} of {the}"])

ON = Asks(
    ["Would you turn the {thing} in {the} {state}?", "Make sure the {thing} in {the} is {state}.", "Set the {thing} in {the} to {state}."],
    say=["{thing} in {the} {state}, please.", "{thing} {state} in {the}.", "{the}: {thing} {state}.", "{the}, {thing} {state}!", "I want the {thing} in {the} {state}.", "I [need|would like|want] the {thing} in {the} to be {state}.",
         "the {thing} in {the} should be {state}.", "the {thing} of {the} must be {state} now.", "let the {thing} in {the} be {state}.", "{state} with the {thing} in {the}."],
    do=["turn {state} the {thing} [in|of] {the}", "turn the {thing} [in|of] {the} {state}", "switch the {thing} [in|of] {the} {state}", "switch {state} the {thing} [in|of] {the}", "put the {thing} in {the} {state}",
        "set the {thing} of {the} [{state}|to {state}]", "get the {thing} in {the} turned {state}", "have the {thing} in {the} {state}", "in {the}, [turn|switch] the {thing} {state}",
        "see that the {thing} in {the} is {state}", "make sure that {the} has its {thing} {state}", "make the {thing} in {the} go {state}"],
)
COVER = Asks(
    ["Would you {do} the {thing} in {the}?", "Go ahead and {do} the {thing} in {the}.", "The {thing} in {the}: {do} it."],
    say=["time to {do} the {thing} in {the}.", "{the}: {do} the {thing}.", "it is time to {do} the {thing} of {the}.", "{the}, {thing}: {do}.", "somebody must {do} the {thing} in {the}.", "I want to {do} the {thing} [in|of] {the}.",
         "we should {do} the {thing} [in|of] {the}.", "the {thing} of {the}: [please|now] {do}.", "I forgot to {do} the {thing} in {the}.", "go ahead with the {thing} in {the}: {do} it."],
    do=["{do} the {thing} [in|of] {the}", "{do} {the} {thing}", "go and {do} the {thing} [in|of] {the}", "in {the}, {do} the {thing}", "{do} the {thing} that is in {the}", "take the {thing} in {the} and {do} it", "{do} it, the {thing} in {the}"],
)
LEVEL = Asks(
    ["Bring the {thing} in {the} to {n} percent.", "I want the {thing} in {the} at {n} percent."],
    say=["{thing} in {the} to {n} [percent|%], please.", "{the}: {thing} {n} [%|percent].", "{thing} of {the} at {n} [%|percent].", "I want the {thing} [in|of] {the} [to be|open] at {n} [%|percent].",
         "the {thing} in {the} should [be|stand] at {n} [percent|%].", "{n} [percent|%] for the {thing} in {the}.", "I [need|would like] the {thing} in {the} at {n} [%|percent]."],
    do=["set the {thing} [in|of] {the} to {n} [percent|%]", "put the {thing} [in|of] {the} at {n} [%|percent]", "open the {thing} [in|of] {the} to {n} [percent|%]", "move the {thing} [in|of] {the} to {n} [percent|%]",
        "bring the {thing} [of|at] {the} to {n} [percent|%]", "turn the {thing} in {the} to {n} [percent|%]", "let the {thing} in {the} go to {n} [percent|%]"],
)
HEAT = Asks(
    ["Bring {the} to {n} degrees.", "Could {the} be {n} °C, please?"],
    say=["{n} degrees in {the}, please.", "I want {n} [degrees|°C] in {the}.", "{the}: {n} [degrees|°C].", "I [need|would like] {n} [degrees|°C] in {the}.", "{the} should [be|have] {n} [degrees|°C].", "{the} could have {n} [degrees|°C].",
         "let it be {n} [degrees|°C] in {the}.", "could it be {n} [degrees|°C] in {the}?", "I want {the} at {n} [degrees|°C]."],
    do=["set {the} to {n} [degrees|°C]", "heat {the} to {n} [degrees|°C]", "make it {n} [degrees|°C] in {the}", "set the [heating|thermostat] [in|of] {the} to {n} [degrees|°C]", "turn the heating [in|of] {the} to {n} [degrees|°C]",
        "bring the heating [in|of] {the} to {n} [degrees|°C]", "put {the} at {n} [degrees|°C]", "warm {the} to {n} [degrees|°C]", "keep {the} at {n} [degrees|°C]", "see that {the} has {n} [degrees|°C]", "get {the} to {n} [degrees|°C]"],
)
DIM = Asks(
    ["Bring the light in {the} to {n} percent.", "I want the light in {the} at {n} %."],
    say=["light in {the} at {n} [percent|%], please.", "{the}: light {n} [percent|%].", "I [want|need] {n} [percent|%] light in {the}.", "the light in {the} should be at {n} [percent|%].", "I want the light of {the} to be at {n} [percent|%]."],
    do=["set the light [in|of] {the} to {n} [percent|%]", "dim the light [in|of] {the} to {n} [percent|%]", "put the light [in|of] {the} at {n} [percent|%]", "turn the light [in|of] {the} to {n} [percent|%]", "bring the light of {the} to {n} [percent|%]"],
)
TIMER = Asks(
    ["I need a timer of {n} minutes.", "Count down {n} minutes."],
    say=["timer for {n} minutes, please.", "timer, {n} minutes.", "{n} minutes, please.", "I [need|want|would like] a timer for {n} minutes.", "I [need|want] a {n} minute timer.", "tell me when {n} minutes are over.", "a countdown of {n} minutes, please."],
    do=["set a timer [for|of|to] {n} minutes", "start a timer [for|of] {n} minutes", "start a {n} minute timer", "set a {n} minute [timer|countdown]", "remind me in {n} minutes", "wake me in {n} minutes", "call me [in|after] {n} minutes", "count {n} minutes [down|]",
        "start to count down from {n} minutes", "let me know when {n} minutes have passed", "ring in {n} minutes", "give me {n} minutes on the timer"],
)
SHOPPING = Asks(
    ["Write {item} on the shopping list.", "The list needs {item}."],
    say=["we need {item}.", "we are out of {item}.", "there is no {item} left.", "we have no more {item}.", "{item} for the shopping list.", "shopping list: {item}.", "{item} is missing on the list.", "I need {item} from the shop.", "on the list: {item}.",
         "we must buy {item}.", "someone must buy {item}.", "the shopping list should have {item}."],
    do=["add {item} to the [shopping list|list|shopping]", "put {item} on the [shopping list|list]", "write {item} on the list", "write down {item} for [the shop|shopping]", "note {item} on the shopping list", "include {item} in the shopping list", "get {item} onto the list", "have {item} on the list"],
)
WEATHER = Asks(
    ["Tell me about the weather in {city}.", "Do I need an umbrella in {city}?"],
    say=["weather in {city}, please.", "{city}: weather?", "weather {city}", "will it rain in {city}?", "is it [sunny|raining|warm|cold|windy] in {city}?", "do I need [a coat|a hat|boots] in {city}?", "shall I take an umbrella to {city}?", "does it rain in {city}?", "is the weather in {city} [good|fine|nice]?",
         "tell me how warm it is in {city}."],
    do=["check the weather [in|of|for] {city}", "look up the weather [in|of|for] {city}", "see how the weather is in {city}", "tell me something about the weather in {city} today"],
    know=[("how is the weather in {city} [today|now|]", "how the weather in {city} is"), ("what's the weather like in {city}", "what the weather is like in {city}"), ("which weather does {city} have", "which weather {city} has"),
          ("is it raining in {city}", "whether it is raining in {city}"), ("do they have [rain|sun|wind] in {city}", "whether they have [rain|sun|wind] in {city}")],
    what=["the weather [in|of|for] {city}", "today's weather in {city}"],
)
MESSAGE = Asks(
    ["Let {who} know: {what}.", "Text {who}: {what}."],
    say=["message to {who}: {what}.", "for {who}: {what}.", "a text for {who}: {what}.", "{who} should know: {what}.", "{who} must know this: {what}.", "text message for {who}: {what}.", "{who} has to know: {what}.", "to {who}: {what}."],
    do=["tell {who}: {what}.", "send {who} a [message|text|note]: {what}.", "send a [message|text] to {who}: {what}.", "write to {who}: {what}.", "write {who} a [text|message]: {what}.", "message {who}: {what}.", "inform {who}: {what}.",
        "let {who} know this: {what}.", "text this to {who}: {what}.", "say to {who}: {what}.", "send this to {who}: {what}.", "let {who} hear: {what}.", "text to {who}: {what}.", "make {who} know: {what}.", "drop {who} a [line|text]: {what}.", "ping {who}: {what}."],
)
MUSIC = Asks(
    ["Let us listen to {what}.", "Could you play {what}?"],
    say=["some {what}, please.", "I want to [hear|listen to] {what}.", "I would like to [hear|listen to] {what}.", "music: {what}.", "how about some {what}?", "let us hear {what}.", "let me listen to {what}.", "now {what}, please.", "I am in the mood for {what}."],
    do=["play {what}", "listen to {what}", "play some {what}", "play me [some|] {what}", "put on [some|] {what}", "start {what}", "let me hear {what}", "turn on {what}", "play {what} for us"],
)
CLOCK = Asks(
    ["Which time is it now?", "Give me the time, please."],
    say=["do you have the time?", "time?", "the time, please.", "what time do we have?", "have you got the time?", "how late?", "I need the time."],
    do=["tell me the time", "look at the clock", "check the time", "give me the exact time", "read the clock"],
    know=[("what time is it", "what time it is"), ("how late is it", "how late it is"), ("what does the clock say", "what the clock says"), ("which hour is it", "which hour it is")],
    what=["the [time|current time|time of day]"],
)
NOTE = Asks(
    ["Keep in mind: {what}.", "Please note: {what}."],
    say=["to note: {what}.", "a note: {what}.", "for my notes: {what}.", "new note: {what}.", "I must not forget: {what}.", "I want a note of this: {what}.", "this is to keep: {what}.", "this must stay in mind: {what}.", "a thing to keep in mind: {what}."],
    do=["make a note: {what}.", "write down: {what}.", "remember this: {what}.", "note [this|down]: {what}.", "take a note: {what}.", "keep this in mind: {what}.", "keep a note: {what}.", "write this down: {what}.", "save this note: {what}.", "add a note: {what}.", "do not forget: {what}.", "remember: {what}.", "bear in mind: {what}.", "have in mind: {what}.", "keep this: {what}.", "note for later: {what}.", "note that down: {what}.", "keep in mind [this|that]: {what}."],
)
MADE_UP = Asks(
    ["Would you {verb} the {noun}? The {key} is {what}.", "I want to {verb} the {noun} of {key} {what}."],
    say=["{verb} {noun}, {key} {what}.", "{noun}: {verb} {key} {what}.", "{verb} {noun} {key} {what}", "I want to {verb} {key} {what} of the {noun}.", "I [need|have] to {verb} the {noun} with {key} {what}.", "time to {verb} the {noun}, {key} {what}.",
         "{verb} the {noun}. Its {key} is {what}.", "there is a {noun} to {verb}. Its {key} is {what}.", "the {noun} of {key} {what}: {verb} it."],
    do=["{verb} the {noun} [with|of|that has] {key} {what}", "{verb} [{noun}|the {noun}] {key} {what}", "{verb} a {noun} with {what} as its {key}", "{verb} the {noun}, and use {key} {what}"],
)
THEN = (["{q} If so, {o}.", "{q} If yes, {o}.", "{q} If it is, {o}.", "{q} And if so, {o}.", "{q} In that case {o}.", "{q} When it is so, then {o}."], ["{q} Then {o}."])
LIST_TOOLS = Asks(
    ["List your tools.", "Which tools are there?"],
    do=["list [the|all] tools", "name your tools", "show me [the|your] tools", "name the tools that are there"],
    know=[("which tools do you have", "which tools you have"), ("what can you do here", "what you can do here"), ("what tools can you use", "what tools you can use"), ("which tools can I use", "which tools I can use")],
)
