"""LangChain and LangGraph: every tool is a `BaseTool`, whose `run` prepares a call and formats what `_run` gave.

`_run` and `_arun` of every subclass are wrapped, so that callbacks, validation and formatting stay LangChain's. They do
not know their call's id: `run` and `arun` leave it for them.
"""

import contextvars
import functools

from . import expect, forms, takes
from .tool_call import ToolCall, run, run_async

# The call that `run` is about to make.
_PENDING = contextvars.ContextVar("looptape_langchain", default=None)


class _Pending:
    __slots__ = ("tool", "input", "call_id", "is_taken")

    def __init__(self, tool, tool_input, call_id):
        self.tool, self.input, self.call_id, self.is_taken = tool, tool_input, call_id, False


def hook(module):
    base = module.BaseTool
    for name in ("run", "arun"):
        expect(takes(getattr(base, name, None), "tool_input", "tool_call_id"), f"BaseTool.{name} takes no tool_call_id")
    of_subclass = base.__dict__.get("__init_subclass__")
    expect(isinstance(of_subclass, classmethod), "BaseTool does not see its subclasses")
    expect(callable(getattr(base, "_run", None)) and callable(getattr(base, "_arun", None)), "BaseTool has no _run")

    def init_subclass(cls, **kwargs):
        of_subclass.__func__(cls, **kwargs)
        _wrap(cls)

    base.__init_subclass__ = classmethod(init_subclass)
    base.run = _announcing(base.run)
    base.arun = _announcing_async(base.arun)


def _announcing(original):
    @functools.wraps(original)
    def announced(self, tool_input, *args, **kwargs):
        token = _PENDING.set(_Pending(self, tool_input, kwargs.get("tool_call_id")))
        try:
            return original(self, tool_input, *args, **kwargs)
        finally:
            _PENDING.reset(token)

    return announced


def _announcing_async(original):
    @functools.wraps(original)
    async def announced(self, tool_input, *args, **kwargs):
        token = _PENDING.set(_Pending(self, tool_input, kwargs.get("tool_call_id")))
        try:
            return await original(self, tool_input, *args, **kwargs)
        finally:
            _PENDING.reset(token)

    return announced


def _wrap(cls):
    if "_run" in cls.__dict__:
        original = cls.__dict__["_run"]

        @functools.wraps(original)
        def _run(self, *args, **kwargs):
            call = _taken(self)
            if call is None:
                return original(self, *args, **kwargs)
            return _formed(self, run(call, lambda: original(self, *args, **kwargs)))

        cls._run = _run
    if "_arun" in cls.__dict__:
        original_async = cls.__dict__["_arun"]

        @functools.wraps(original_async)
        async def _arun(self, *args, **kwargs):
            call = _taken(self)
            if call is None:
                return await original_async(self, *args, **kwargs)
            return _formed(self, await run_async(call, lambda: original_async(self, *args, **kwargs)))

        cls._arun = _arun


def _taken(tool):
    """The pending call of this tool; None where an outer `_run` has it already, or nobody announced one."""
    pending = _PENDING.get()
    if pending is None or pending.tool is not tool or pending.is_taken:
        return None
    pending.is_taken = True
    arguments = pending.input
    try:
        if isinstance(arguments, dict):
            arguments = tool._filter_injected_args(arguments)
    except Exception:
        pass
    told = functools.partial(_told, tool.name, pending.call_id)
    return ToolCall(tool.name, arguments, pending.call_id, "langchain", _SHAPE, _puts_off(), told)


def _formed(tool, value):
    """A tool with artifacts gives a pair; of what the model was told only the content is known."""
    has_artifact = getattr(tool, "response_format", None) == "content_and_artifact"
    return (value, None) if has_artifact and isinstance(value, str) else value


def _told(name, call_id, message):
    from langchain_core.messages import ToolMessage

    return ToolMessage(message, tool_call_id=call_id or "", name=name, status="error")


def _puts_off():
    """LangGraph interrupts a run by exceptions of its own."""
    import sys

    errors = sys.modules.get("langgraph.errors")
    bubbles = getattr(errors, "GraphBubbleUp", None)
    return (bubbles,) if bubbles is not None else ()


class _LangChain(forms.Shape):
    def told(self, result):
        return result

    def write(self, value, write):
        from langchain_core.documents import Document
        from langchain_core.messages import BaseMessage, messages_to_dict

        if isinstance(value, BaseMessage):
            (data,) = messages_to_dict([value])
            return "message", write(data)
        if isinstance(value, Document):
            return "document", write(value.model_dump())
        kind = type(value)
        if kind.__module__ == "langgraph.types" and kind.__name__ == "Command":
            return "command", {name: write(getattr(value, name)) for name in ("graph", "update", "resume", "goto")}
        if kind.__module__ == "langgraph.types" and kind.__name__ == "Send":
            return "send", [value.node, write(value.arg)]
        return None

    def read(self, kind, data):
        if kind == "message":
            from langchain_core.messages import messages_from_dict

            return messages_from_dict([data])[0]
        if kind == "document":
            from langchain_core.documents import Document

            return Document(**data)
        from langgraph.types import Command, Send

        return {"command": lambda: Command(**data), "send": lambda: Send(*data)}[kind]()


_SHAPE = _LangChain()
