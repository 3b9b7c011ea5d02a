"""LangChain tools of every kind, called as an agent calls them, and one that asks a model by itself.

Prints what each gave, or raised; nothing that runs changes what is printed."""

import asyncio
import sys

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.errors import GraphInterrupt
from langgraph.types import Command
from openai import OpenAI

import tools


class Refused(Exception):
    def __init__(self, why, code):
        super().__init__(why, code)
        self.code = code


@tool
def an_object(city: str) -> dict:
    """Keys in an order of their own, and numbers that JSON parsers like to change."""
    tools.ran("an_object")
    return {"z": 0.1, "a": 12345678901234567890, "nested": [{"ü": None, "t": True}]}


@tool
def nothing() -> None:
    """No value."""
    tools.ran("nothing")


@tool(response_format="content_and_artifact")
def with_artifact() -> tuple:
    """A text for the model, and a value for the program."""
    tools.ran("with_artifact")
    return "read it", {"bytes": 3}


@tool
def a_command() -> Command:
    """Changes the graph's state."""
    tools.ran("a_command")
    return Command(update={"seen": True, "messages": [ToolMessage("done", tool_call_id="c-a_command")]}, goto="next")


@tool
def refuses() -> str:
    """Raises an error of the program's own."""
    tools.ran("refuses")
    raise Refused("not today", 7)


@tool
def too_slow() -> str:
    """Runs out of time."""
    tools.ran("too_slow")
    raise TimeoutError("after 3 s")


@tool
async def awaited(city: str) -> list:
    """A coroutine function."""
    tools.ran("awaited")
    return [city, 7.5]


class OfClass(BaseTool):
    name: str = "of_class"
    description: str = "A class of the program's own."

    def _run(self, city: str) -> object:
        tools.ran("of_class")
        return complex(1, 2)


@tool
def sub_agent(question: str) -> str:
    """Asks a model by itself, so it runs in a replay too."""
    return ask(question)


@tool
def interrupts() -> str:
    """Puts the run off until a human has answered."""
    raise GraphInterrupt(())


def ask(question):
    answer = OpenAI().chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": question}])
    return answer.choices[0].message.content


def call(one, **args):
    return {"type": "tool_call", "id": f"c-{one.name}", "name": one.name, "args": args}


def shown(run):
    try:
        value = run()
    except Exception as error:
        return f"raised {type(error).__name__} {error.args} {vars(error)}"
    return f"{type(value).__name__} {value!r}"


print(ask("Say hello to Oslo"), file=sys.stderr)
for one, args in ((an_object, {"city": "Oslo"}), (nothing, {}), (with_artifact, {}), (a_command, {}), (refuses, {})):
    print(one.name, shown(lambda: one.invoke(call(one, **args))))
for one, args in ((too_slow, {}), (OfClass(), {"city": "Oslo"}), (sub_agent, {"question": "Say yes"}), (interrupts, {})):
    print(one.name, shown(lambda: one.invoke(call(one, **args))))
print("awaited", shown(lambda: asyncio.run(awaited.ainvoke(call(awaited, city="Oslo")))))
print("direct", shown(lambda: an_object.invoke({"city": "Bergen"})))
