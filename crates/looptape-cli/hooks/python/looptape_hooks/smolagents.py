"""smolagents: tools are objects that are called, by the agent or by code that a model wrote.

They do not know the id of the call: where the model called tools by name, it is found by name and arguments. The tool by
which an agent hands in its answer is the agent's own and always runs.
"""

import contextvars
import functools
import json
import threading

from . import expect, forms, takes
from .tool_call import ToolCall, run

# Calls of the current model answer that no tool has taken yet.
_CALLS = contextvars.ContextVar("looptape_smolagents", default=None)


def hook(module):
    from smolagents import tools

    tool = getattr(tools, "Tool", None)
    call = getattr(tool, "__call__", None)
    expect(takes(call, "sanitize_inputs_outputs"), "Tool.__call__ takes no sanitize_inputs_outputs")

    @functools.wraps(call)
    def called(self, *args, sanitize_inputs_outputs=False, **kwargs):
        def go():
            return call(self, *args, sanitize_inputs_outputs=sanitize_inputs_outputs, **kwargs)

        if self.name == "final_answer":
            return go()
        arguments = _arguments(self, args, kwargs)
        one = ToolCall(self.name, arguments, _call_id(self.name, arguments), "smolagents", forms.Shape())
        value = run(one, lambda: _plain(go()))
        return _sanitised(value, self.output_type) if sanitize_inputs_outputs else value

    tool.__call__ = called
    agent = getattr(module, "ToolCallingAgent", None)
    process = getattr(agent, "process_tool_calls", None)
    if takes(process, "chat_message"):
        agent.process_tool_calls = _announcing(process)


def _announcing(process):
    @functools.wraps(process)
    def announced(self, chat_message, *args, **kwargs):
        calls = [(c.function.name, _parsed(c.function.arguments), c.id) for c in chat_message.tool_calls or ()]
        _CALLS.set((threading.Lock(), calls))
        yield from process(self, chat_message, *args, **kwargs)

    return announced


def _call_id(name, arguments):
    lock, calls = _CALLS.get() or (threading.Lock(), [])
    said = forms.arguments(arguments)
    with lock:
        for at, (called, given, call_id) in enumerate(calls):
            if called == name and given == said:
                del calls[at]
                return call_id
    return None


def _parsed(arguments):
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments


def _arguments(tool, args, kwargs):
    names = list(getattr(tool, "inputs", None) or ())
    if len(args) == 1 and not kwargs and isinstance(args[0], dict) and all(key in names for key in args[0]):
        return args[0]
    return {**dict(zip(names, args)), **kwargs}


def _plain(value):
    """A text is a class of its own between agent and tool."""
    from smolagents.agent_types import AgentText

    return value.to_raw() if isinstance(value, AgentText) else value


def _sanitised(value, output_type):
    from smolagents.agent_types import AgentType, handle_agent_output_types

    return value if isinstance(value, AgentType) else handle_agent_output_types(value, output_type)
