"""Wraps the tool executors of agent frameworks as they are imported.

A framework is hooked right after its module has run, before anybody can use it. One whose shape is not the known one is
left as it is, with one line saying so. Nothing is imported before a framework is.
"""

import os
import sys

# The module that holds a framework's executor, and what wraps it.
FRAMEWORKS = {
    "langchain_core.tools.base": "langchain",
    "agents.tool": "openai_agents",
    "pydantic_ai.toolsets.function": "pydantic_ai",
    "smolagents.agents": "smolagents",
    "minisweagent.environments.local": "mini_swe_agent",
    "minisweagent.environments.docker": "mini_swe_agent",
    "minisweagent.environments.singularity": "mini_swe_agent",
    "aider.run_cmd": "aider",
    "claude_agent_sdk._internal.transport.subprocess_cli": "claude_agent_sdk",
}
# HTTP clients that SDKs ask models with.
CLIENTS = {
    "httpx._client": "asking",
    "httpx2._client": "asking",
    "requests.sessions": "asking",
    "aiohttp.client": "asking",
}


class UnknownShape(Exception):
    """A framework is not built as this version of the hooks knows it."""


def start():
    """Hooks whatever is imported from now on."""
    if os.environ.get("LOOPTAPE_MODE") in ("record", "replay") and os.environ.get("LOOPTAPE_TRACE"):
        sys.meta_path.insert(0, _Finder({**FRAMEWORKS, **CLIENTS}))


def say(text):
    """One line for people, on standard error."""
    try:
        sys.stderr.write(f"looptape: {text}\n")
    except Exception:
        pass


class _Finder:
    """Finds nothing by itself: it lets the others find, and adds what is to be done behind the module's code."""

    def __init__(self, wanted):
        self._wanted = wanted

    def find_spec(self, name, path=None, target=None):
        hook = self._wanted.pop(name, None)
        if hook is None:
            return None
        spec = next(filter(None, (_ask(finder, name, path, target) for finder in sys.meta_path if finder is not self)), None)
        loader = getattr(spec, "loader", None)
        run = getattr(loader, "exec_module", None)
        if run is None:
            return spec

        def exec_module(module):
            run(module)
            _hook(hook, module)

        try:
            loader.exec_module = exec_module
        except AttributeError:
            say(f"tool hooks: {name} is loaded in an unknown way: its tools are not hooked")
        return spec


def _ask(finder, name, path, target):
    find = getattr(finder, "find_spec", None)
    return find(name, path, target) if find is not None else None


def _hook(hook, module):
    try:
        from importlib import import_module

        import_module(f"looptape_hooks.{hook}").hook(module)
    except UnknownShape as error:
        say(f"tool hooks: {_version(module)} is not known ({error}): its tools are neither recorded nor served")
    except Exception as error:
        say(f"tool hooks: {module.__name__} was not hooked: {type(error).__name__}: {error}")


def _version(module):
    """The framework with its version, as the user installed it."""
    top = module.__name__.partition(".")[0]
    names = {"agents": "openai-agents", "aider": "aider-chat", "minisweagent": "mini-swe-agent"}
    name = names.get(top, top.replace("_", "-"))
    try:
        from importlib.metadata import version

        return f"{name} {version({'pydantic-ai': 'pydantic-ai-slim'}.get(name, name))}"
    except Exception:
        return name


def is_installed(distribution):
    from importlib.metadata import PackageNotFoundError, version

    try:
        return bool(version(distribution))
    except PackageNotFoundError:
        return False


def expect(is_so, what):
    """Stops hooking a framework that is not as expected."""
    if not is_so:
        raise UnknownShape(what)


def takes(function, *names):
    """Whether a function takes parameters of these names."""
    from inspect import signature

    try:
        parameters = signature(function).parameters
    except (TypeError, ValueError):
        return False
    return all(name in parameters for name in names)
