"""Read by every Python that `looptape record` or `replay` starts: hooks into agent frameworks' tools.

Whatever `sitecustomize` stands behind this one on the path runs as if this one were not there. Nothing here may fail,
whatever the Python: a program is started with it that has nothing to do with agents.
"""

import os
import sys


def _hook_tools():
    if sys.version_info < (3, 9) or not os.environ.get("LOOPTAPE_URL"):
        return
    import looptape_hooks

    looptape_hooks.start()


def _run_next():
    """Runs the next `sitecustomize` on the path, under its name; what it raises is its own affair."""
    if sys.version_info < (3, 4):
        return
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.dirname(os.path.abspath(__file__))
    behind = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    spec = PathFinder.find_spec("sitecustomize", behind)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


try:
    _hook_tools()
except Exception as _error:
    sys.stderr.write("looptape: tools are not hooked: %s: %s\n" % (type(_error).__name__, _error))
_run_next()
