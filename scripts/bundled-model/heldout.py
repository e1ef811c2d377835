"""Cases that no training document has: names, numbers in new places, and phrasings of the held-out lists."""
from __future__ import annotations

import json
import re
from pathlib import Path

from corpus import copying, readings, stories, talk, tools
from corpus.base import Document, Draw

SKILLS = {
    "tool-call": (tools.one_call, 300),
    "tool-result": (tools.is_it_too, 200),
    "tools-parallel": (tools.several_calls, 60),
    "refusal-no-tool": (tools.no_fitting_tool, 100),
    "readings": (readings.several_questions, 400),
    "sums": (readings.sums, 150),
    "states": (readings.states, 150),
    "choices": (readings.choices, 100),
    "summary": (readings.summary, 80),
    "json": (readings.as_json, 100),
    "repeat": (copying.repeat, 60),
    "look-up": (copying.look_up, 60),
    "talk": (talk.small_talk, 80),
    "memory": (talk.memory, 80),
    "refusal": (talk.refusal, 150),
    "story": (stories.told, 60),
}


def case(skill: str, index: int, draw: str) -> dict:
    make, _ = SKILLS[skill]
    doc = make(Draw(f"{draw} {skill} {index}", held=True))
    end = _cut(doc)
    messages = [_message(message) for message in doc.messages[:end]]
    return {"skill": skill, "messages": messages, **({"tools": doc.tools} if doc.tools else {}), "check": doc.check}


def _cut(doc: Document) -> int:
    """Index of the message that is to be answered."""
    if doc.check["kind"] == "tool-call":
        return next(i for i, message in enumerate(doc.messages) if "tool_calls" in message)
    return max(i for i, message in enumerate(doc.messages) if message["role"] == "assistant")


def _message(message: dict) -> dict:
    """As OpenAI's API has it: arguments are text."""
    message = {key: value for key, value in message.items() if key != "thought"}
    if "tool_calls" not in message:
        return message
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": c["function"]["name"], "arguments": json.dumps(c["function"]["arguments"], ensure_ascii=False)}}
        for i, c in enumerate(message["tool_calls"])
    ]
    return {**message, "tool_calls": calls}


def write(path: Path, draw: str = "held") -> int:
    """Another `draw` makes as many other cases, of the same held-out lists. Returns how many."""
    lines = []
    for skill, (_, count) in SKILLS.items():
        for index in range(count):
            made = case(skill, index, draw)
            calls = [c["id"] for m in made["messages"] for c in m.get("tool_calls", [])]
            for message in made["messages"]:
                if message["role"] == "tool":
                    message["tool_call_id"] = calls.pop(0)
            lines.append(json.dumps(made, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n")
    return len(lines)


def write_story_words(path: Path) -> int:
    """The words of many stories, without the names: what a story of the model may be made of."""
    words: set[str] = set()
    names: set[str] = set()
    for held in (False, True):
        for index in range(4000):
            text, hero, friend, _ = stories.story(Draw(f"words {index}", held))
            names |= {hero.name, friend.name}
            words |= set(re.findall(r"[A-Za-z][A-Za-z'-]*[A-Za-z]|[A-Za-z]", text))
    kept = {word.lower() for word in words if word.removesuffix("'s") not in names}
    path.write_text(json.dumps(sorted(kept)) + "\n")
    return len(kept)
