"""pydantic-ai: functions of the program, where a toolset calls them. Tools of MCP servers are not such functions."""

import functools

from . import expect, forms, takes
from .tool_call import ToolCall, run_async


def hook(module):
    toolset = getattr(module, "FunctionToolset", None)
    call_tool = getattr(toolset, "call_tool", None)
    expect(takes(call_tool, "name", "tool_args", "ctx", "tool"), "FunctionToolset.call_tool is not of the known shape")

    @functools.wraps(call_tool)
    async def called(self, name, tool_args, ctx, tool):
        shown = getattr(ctx, "tool_name", None) or name
        call_id = getattr(ctx, "tool_call_id", None)
        call = ToolCall(shown, tool_args, call_id, "pydantic-ai", _SHAPE, _puts_off(), _told)
        return await run_async(call, lambda: call_tool(self, name, tool_args, ctx, tool))

    toolset.call_tool = called


def _puts_off():
    from pydantic_ai import exceptions

    names = ("CallDeferred", "ApprovalRequired")
    return tuple(getattr(exceptions, name) for name in names if hasattr(exceptions, name))


def _told(message):
    from pydantic_ai import exceptions

    raise getattr(exceptions, "ToolFailed", exceptions.ModelRetry)(message)


class _PydanticAi(forms.Shape):
    """The library's own parts keep their class; other objects become the JSON that the model is told."""

    def write(self, value, write):
        kind = type(value)
        if kind.__module__ != "pydantic_ai.messages":
            return None
        from pydantic import TypeAdapter

        return kind.__name__, write(TypeAdapter(kind).dump_python(value, mode="json"))

    def read(self, kind, data):
        from pydantic import TypeAdapter
        from pydantic_ai import messages

        return TypeAdapter(getattr(messages, kind)).validate_python(data)

    def plain(self, value):
        from pydantic_ai import messages
        from pydantic_core import to_jsonable_python

        known = getattr(messages, "tool_return_ta", None)
        return known.dump_python(value, mode="json") if known is not None else to_jsonable_python(value)


_SHAPE = _PydanticAi()
