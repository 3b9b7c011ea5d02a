"""aider: the shell commands that it runs for the user, for tests and for linters.

They are no tools that a model calls by name, so only what was measured is known of them. Edits are not hooked: they are
part of what aider tells the model next.
"""

import functools

from . import expect, forms, takes
from .tool_call import ToolCall, ToolError, run, within


def hook(module):
    for name in ("run_cmd", "run_cmd_subprocess"):
        run_cmd = getattr(module, name, None)
        expect(takes(run_cmd, "command", "cwd"), f"{name} takes no command and cwd")
        setattr(module, name, _hooked(run_cmd))


def _hooked(run_cmd):
    @functools.wraps(run_cmd)
    def ran(command, *args, **kwargs):
        if within():
            # One calls the other.
            return run_cmd(command, *args, **kwargs)
        call = ToolCall("run_cmd", {"command": command}, None, "aider", forms.Shape())
        try:
            return run(call, lambda: run_cmd(command, *args, **kwargs))
        except ToolError as error:
            # As if the command had failed: aider catches nothing here.
            return 1, str(error)

    return ran
