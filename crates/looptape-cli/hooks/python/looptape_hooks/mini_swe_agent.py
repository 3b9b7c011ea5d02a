"""mini-swe-agent: its one tool, a shell command, wherever it is run.

What was measured is given back as it was, the exception that ends the run included. Of what the model was told no result
can be made: there the replay tells the model.
"""

import functools

from . import expect, forms, takes
from .tool_call import ToolCall, run


def hook(module):
    environments = [value for value in vars(module).values() if _is_environment(value, module)]
    expect(environments, f"{module.__name__} has no environment with execute(action)")
    for environment in environments:
        environment.execute = _hooked(environment.execute)


def _is_environment(value, module):
    is_own = isinstance(value, type) and value.__module__ == module.__name__
    return is_own and takes(value.__dict__.get("execute"), "action")


def _hooked(execute):
    @functools.wraps(execute)
    def executed(self, action, *args, **kwargs):
        command = action.get("command") if isinstance(action, dict) else None
        if not isinstance(command, str):
            return execute(self, action, *args, **kwargs)
        call_id = action.get("tool_call_id")
        call = ToolCall("bash", {"command": command}, call_id, "mini-swe-agent", _SHAPE, gives="measured")
        return run(call, lambda: execute(self, action, *args, **kwargs))

    return executed


class _Told(forms.Shape):
    def told(self, result):
        text = super().told(result)
        return {"output": text if isinstance(text, str) else str(text), "returncode": 0, "exception_info": ""}


_SHAPE = _Told()
