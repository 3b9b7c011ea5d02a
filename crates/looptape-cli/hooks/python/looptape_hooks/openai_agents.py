"""OpenAI Agents SDK: function tools, with their time limits and failure handlers, where the SDK invokes them.

Hosted, shell, computer and patch tools are not functions of the program, and are left alone. An agent that is a tool of
another asks models itself, and always runs.
"""

import functools

from . import expect, forms, is_installed, takes
from .tool_call import ToolCall, run_async


def hook(module):
    if not is_installed("openai-agents"):
        # A package of the user's own that is called `agents` too.
        return
    expect(hasattr(module, "FunctionTool"), "there is no FunctionTool")
    name = "_invoke_function_tool_with_metadata"
    if not hasattr(module, name):
        name = "invoke_function_tool"
    invoke = getattr(module, name, None)
    expect(takes(invoke, "function_tool", "context", "arguments"), f"there is no {name} of the known shape")
    carrier = getattr(module, "_FunctionToolInvocationResult", None)

    @functools.wraps(invoke)
    async def invoked(*, function_tool, context, arguments, **more):
        async def tool():
            return await invoke(function_tool=function_tool, context=context, arguments=arguments, **more)

        if getattr(function_tool, "_is_agent_tool", False):
            return await tool()
        call = _call(module, function_tool, context, arguments)
        if carrier is None:
            return await run_async(call, tool)
        came = await run_async(call, lambda: _output(tool))
        return carrier(str(came), True) if isinstance(came, forms.Told) else carrier(came)

    setattr(module, name, invoked)


async def _output(tool):
    result = await tool()
    return forms.Told(result.output) if getattr(result, "is_sdk_generated_error", False) else result.output


def _call(module, function_tool, context, arguments):
    call_id = getattr(context, "tool_call_id", None)
    return ToolCall(
        function_tool.name, _json(arguments), call_id, "openai-agents", _Outputs(module), told=forms.Told
    )


def _json(text):
    import json

    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text


class _Outputs(forms.Shape):
    """Texts, images and files as the SDK has them; anything else is shown to the model by `str`."""

    KINDS = ("ToolOutputText", "ToolOutputImage", "ToolOutputFileContent")

    def __init__(self, module):
        self._module = module

    def write(self, value, write):
        kind = type(value).__name__
        if kind in self.KINDS and type(value) is getattr(self._module, kind, None):
            return kind, write(value.model_dump())
        return None

    def read(self, kind, data):
        if kind not in self.KINDS:
            raise KeyError(kind)
        return getattr(self._module, kind)(**data)
