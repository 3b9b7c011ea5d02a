"""claude-agent-sdk: its agent is claude-code, which is given the plugin that asks the replay before its tools run."""

import functools
import os

from . import expect, takes

_PLUGIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "claude-code")


def hook(module):
    transport = getattr(module, "SubprocessCLITransport", None)
    build = getattr(transport, "_build_command", None)
    expect(takes(build, "self"), "SubprocessCLITransport._build_command is not there")
    if os.environ["LOOPTAPE_MODE"] != "replay":
        return

    @functools.wraps(build)
    def built(self):
        command = build(self)
        return [*command[:1], "--plugin-dir=" + os.path.normpath(_PLUGIN), *command[1:]]

    transport._build_command = built
