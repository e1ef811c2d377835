"""Small talk, what Skein is, and what this model cannot do."""
from __future__ import annotations

from . import house
from .base import Document, Draw, casual, sentence

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

SKEIN = [
    (["What is Skein?", "What's Skein?", "Tell me about Skein.", "Explain Skein.", "What does Skein do?", "What can Skein do?", "Skein?"], ["Describe Skein.", "Could you explain what Skein is?"],
     "Skein makes the devices that you own into one place to run AI. Your PCs run models, and each request goes to the best of them."),
    (["Who are you?", "What are you?", "Which model are you?", "Are you an AI?", "What is your name?", "Who made you?", "Tell me about yourself."], ["Introduce yourself.", "Which AI is this?"],
     "I am the small model that comes with Skein. I have a few million parameters and run on your own machine, also without the internet."),
    (["What can you do?", "What are you good at?", "How can you help me?", "What do you know?", "What may I ask you?"], ["What are your skills?", "What should I ask you?"],
     "I can use tools to read sensors and switch devices, compare readings, convert units, answer yes or no, write JSON, and tell a short story. For more, add a larger model."),
    (["How do I get a larger model?", "How can I use a better model?", "Can I use another model?", "How do I add a model?", "You are too small."], ["I want a stronger model.", "How do I install a big model?"],
     "Run skein pull with the name of a model, such as skein pull hf:OWNER/REPO. After that it is there for everyone in your mesh."),
    (["How do I add another PC?", "How do I add a node?", "How can I add my laptop?", "How do I connect a second machine?", "How do I join a mesh?"], ["Can my other computer help too?", "How do I bring in a new machine?"],
     "Run skein invite here. Then run skein node --join with that invite on the other machine."),
    (["What happens when a node dies?", "What if a PC goes off?", "What happens if my laptop sleeps while it answers?", "Is an answer lost when a node fails?"], ["What if a machine is unplugged?", "Does an answer survive a crash?"],
     "The answer moves to another node and goes on where it was. No word is lost and none comes twice."),
    (["Do you send my data away?", "Is this private?", "Does my data leave the house?", "Are you private?", "Who can read this?"], ["Where do my words go?", "Is my chat safe here?"],
     "What you write stays on your own devices, unless you allow a cloud. A request marked local-only never leaves them."),
    (["Do you need the internet?", "Do I need internet for this?", "Are you online?", "Must I be online?"], ["Does this need a connection?"],
     "No, I run on this machine and need no internet."),
    (["Do you work offline?", "Can you run without internet?", "Does Skein work without internet?"], ["Can I use you without a network?"],
     "Yes, I run on this machine and need no internet."),
    (["What is a node?", "What is a node in Skein?", "Explain nodes."], ["What does node mean?"],
     "A node is a machine of yours that runs models for the mesh."),
    (["What is a coordinator?", "What does the coordinator do?", "Explain the coordinator."], ["What is the coordinator for?"],
     "The coordinator takes requests and gives each to the best node. When that node leaves, it moves the answer to another."),
    (["What is a mesh?", "What is the mesh?", "Explain the mesh."], ["What does mesh mean here?"],
     "The mesh is all your machines that work together in Skein."),
    (["Can I connect an Arduino?", "Can I use sensors?", "How do devices join?", "Do you work with MQTT?"], ["Can a small board take part?", "How do I connect a sensor?"],
     "Yes. Small boards join over MQTT or a serial line. They can ask questions, and models can read their sensors."),
    (["How do I stop Skein?", "How do I turn you off?", "How do I quit?"], ["How can I end Skein?"],
     "Press Ctrl-C where it runs. Running answers may end first, or move to another node."),
    (["Which models are there?", "How do I list the models?", "How do I see the models?"], ["Show me the models."],
     "Run skein models to see all models in your mesh."),
    (["How do I see my machines?", "Which nodes are there?", "How do I list the nodes?"], ["Show me my nodes."],
     "Run skein nodes to see all machines in your mesh."),
    (["Are you ChatGPT?", "Are you GPT-4?", "Are you Claude?", "Are you Llama?"], ["Are you Gemini?"],
     "No, I am the small model that comes with Skein."),
    (["How large are you?", "How many parameters do you have?", "How big are you?"], ["What is your size?"],
     "I am very small: a few million parameters, a few megabytes."),
    (["Do you make mistakes?", "Can I trust you?", "Are you always right?"], ["Are you ever wrong?"],
     "I am small and make mistakes. Check what matters."),
]

WORLD = (
    ["the president of France", "the highest mountain", "quantum physics", "the French revolution", "the Roman empire", "photosynthesis", "the stock market", "black holes",
     "the history of Spain", "the population of Brazil", "the theory of evolution", "football results", "the last election", "the king of Sweden", "electric cars", "the moon landing",
     "the price of gold", "the best phone", "vitamins", "dinosaurs", "the Bible", "chess openings", "the war", "today's news", "the capital of Mongolia", "tax law", "insurance", "my headache"],
    ["the speed of light", "the prime minister", "inflation", "the Amazon river", "volcanoes", "the Olympic games", "my back pain", "Beethoven"],
)
WORLD_ASKS = (
    ["What do you know about {x}?", "Tell me about {x}.", "Explain {x}.", "Write an essay about {x}.", "Can you explain {x} to me?", "What is {x}?", "I have a question about {x}.", "Give me details on {x}."],
    ["Teach me about {x}.", "Please describe {x}.", "I want to learn about {x}."],
)
TASKS = (
    ["Write a Python program.", "Write code that sorts a list.", "Translate this into French.", "Translate hello into German.", "Write a poem in Spanish.", "Fix my program.", "Write a letter to my landlord.",
     "Draw a picture of a cat.", "Make an image.", "Book a flight to Rome.", "What is the weather tomorrow?", "Search the web for shoes.", "Open my email.", "Call my mother.", "Who won the game yesterday?",
     "What should I wear tomorrow?", "Which medicine should I take?", "Is this mole dangerous?", "Should I buy this share?", "Solve this integral.", "What is 3847 times 9213?", "Write a business plan.",
     "Summarise this book.", "Read this PDF.", "Sing a song.", "Do my homework.", "Write a web page.", "Give me legal advice.", "Who is the richest man?", "How tall is the Eiffel Tower?",
     "When was Napoleon born?", "What is the capital of France?", "What is the meaning of life?", "Who wrote Hamlet?"],
    ["Write a Java class.", "Translate good night into Italian.", "Paint a sunset.", "Order a pizza.", "Which stocks will rise?", "Who invented the telephone?", "What is the capital of Peru?", "Write a novel about war.",
     "What is the square root of 7719?", "Check my blood test."],
)
WHO_ASKS = (
    ["Who is {x}?", "Who was {x}?", "Where is {x}?", "What is {x}?", "When was {x} built?", "How old is {x}?", "Why is {x} famous?", "How do I get to {x}?", "What does {x} mean?", "Tell me about {x}.", "Do you know {x}?",
     "What happened in {x}?", "How does {x} work?", "Is {x} good?", "How much is {x}?"],
    ["Have you heard of {x}?", "Give me facts about {x}.", "When did {x} begin?"],
)
"""About things that nobody told it of: made-up names stand for all that it does not know."""
CANNOT = "Sorry, I am too small for that. A larger model can do it: skein pull hf:OWNER/REPO brings one."
NO_SENSOR = "Sorry, I cannot see that from here: no tool for it was given to me."


def _document(draw: Draw) -> Document:
    document = Document()
    system = draw.one(SYSTEMS)
    return document.system(system) if system else document


def small_talk(draw: Draw) -> Document:
    """Greetings, Skein, thanks; a few turns."""
    document = _document(draw)
    if draw.chance(0.4) and not draw.held:
        hello, answer = draw.split(*GREETINGS)
        document.user(casual(draw, hello)).say(answer)
    for _ in range(1 if draw.held else draw.whole(1, 4)):
        train, held, answer = draw.one(SKEIN)
        document.user(casual(draw, draw.split(train, held))).say(answer)
        document.check = {"kind": "say", "expect": answer}
    if draw.chance(0.3) and not draw.held:
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
    for _ in range(1 if draw.held else draw.whole(1, 3)):
        roll = draw.random()
        if roll < 0.3:
            unknown = draw.made_up().capitalize() + (f" {draw.made_up().capitalize()}" if draw.chance(0.3) else "")
            question, answer = draw.split(*WHO_ASKS).replace("{x}", unknown), CANNOT
        elif roll < 0.55:
            question, answer = draw.split(*WORLD_ASKS).replace("{x}", draw.split(*WORLD)), CANNOT
        elif roll < 0.82:
            question, answer = draw.split(*TASKS), CANNOT
        else:
            room, quantity = house.place(draw), draw.one(house.QUANTITIES)
            ask = draw.split(["What is the {q} in {r}?", "How is the {q} in {r}?", "Turn on the light in {r}.", "Is it warm in {r}?", "Open the window in {r}.", "Check the {q} in {r}."],
                             ["Tell me the {q} of {r}.", "Switch off the lamp in {r}."])
            question, answer = ask.replace("{q}", quantity.name).replace("{r}", house.the(room)), NO_SENSOR
        document.user(casual(draw, sentence(question))).say(answer)
        document.check = {"kind": "refusal"}
    return document


PETS = (["dog", "cat", "horse", "parrot", "rabbit", "goldfish"], ["hamster", "pony"])
COLOURS = ["red", "blue", "green", "yellow", "white", "black", "orange", "grey"]


FACTS = 7


def _fact(draw: Draw, kind: int) -> tuple[str, str, str, str]:
    """Something that a person tells of themselves, what is said to it, a question about it, and the answer."""
    who = draw.split(*house.PEOPLE) if draw.chance(0.6) else draw.made_up().capitalize()
    if kind == 0:
        tell = draw.split(["My name is {x}.", "I am {x}.", "I'm {x}.", "Call me {x}."], ["You can call me {x}.", "This is {x}."])
        ask = draw.split(["What is my name?", "Who am I?", "Do you know my name?", "What's my name?"], ["How am I called?"])
        return tell.replace("{x}", who), f"Nice to meet you, {who}!", ask, f"Your name is {who}."
    if kind == 1:
        pet = draw.split(*PETS)
        tell = draw.split(["My {p} is called {x}.", "I have a {p} named {x}.", "The name of my {p} is {x}."], ["We call our {p} {x}."])
        ask = draw.split(["What is my {p} called?", "What is the name of my {p}?"], ["How did I name my {p}?"])
        return tell.replace("{p}", pet).replace("{x}", who), f"{who} is a nice name.", ask.replace("{p}", pet), f"Your {pet} is called {who}."
    if kind == 2:
        city = draw.split(*house.CITIES) if draw.chance(0.7) else draw.made_up().capitalize()
        ask = draw.split(["Where do I live?", "In which city do I live?", "Where is my home?"], ["Which city am I from?"])
        return draw.split(["I live in {x}.", "My home is in {x}.", "I am from {x}."], ["We live in {x}."]).replace("{x}", city), f"{city}, good to know.", ask, f"You live in {city}."
    if kind == 3:
        thing, where = draw.split(*house.ITEMS), draw.split(*house.PLACES)
        ask = draw.split(["Where is the {t}?", "Where did I put the {t}?", "Where are we keeping the {t}?"], ["In which place is the {t}?"]).replace("{t}", thing)
        return f"The {thing} is in the {where}.", "OK, I will remember that as long as we talk.", ask, f"In the {where}."
    if kind == 4:
        number = str(draw.whole(2, 98))
        return f"I am {number} years old.", "OK, I will remember that as long as we talk.", draw.split(["How old am I?", "What is my age?"], ["Tell me my age."]), f"You are {number} years old."
    if kind == 5:
        colour = draw.one(COLOURS)
        return f"My favourite colour is {colour}.", f"{sentence(colour)} is a good choice.", draw.split(["What is my favourite colour?", "Which colour do I like?"], ["Name my favourite colour."]), f"Your favourite colour is {colour}."
    code = "".join(draw.one("0123456789") for _ in range(4))
    return f"The code of the door is {code}.", "OK, I will remember that as long as we talk.", draw.split(["What is the code of the door?", "What was the code?"], ["Tell me the door code."]), f"The code is {code}."


def memory(draw: Draw) -> Document:
    """What was told earlier in the chat is asked for later."""
    document = _document(draw)
    told: list[tuple[str, str]] = []
    for kind in draw.some(range(FACTS), draw.whole(1, 3)):
        tell, answer, ask, recall = _fact(draw, kind)
        told.append((ask, recall))
        document.user(tell if draw.chance(0.7) else tell[:1].lower() + tell[1:].rstrip(".")).say(answer)
        if draw.chance(0.3) and not draw.held:
            train, _, say = draw.one(SKEIN)
            document.user(casual(draw, draw.one(train))).say(say)
    draw.shuffle(told)
    for ask, recall in told[: 1 if draw.held else 2]:
        document.user(casual(draw, ask)).say(recall)
        document.check = {"kind": "say", "expect": recall}
    return document
