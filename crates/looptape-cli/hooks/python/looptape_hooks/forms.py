"""Results as they travel: what a tool gave as text, and in which form, so that the very same value comes back.

    text    a string, as it is
    json    JSON, as text: numbers and the order of keys stay what they are
    python  the same, with `{"$kind": …}` where a framework's own object stands
    shown   another value, as the framework shows it to the model; the text comes back in its place
    told    the framework made a text of an error by itself; the text comes back, as a result
    runs    the tool asked models itself, or put the run off: it runs in a replay too
"""

import json


class Shape:
    """A framework's own objects: how to write them down, make them again, and show what cannot be."""

    def write(self, value, write):
        """`(kind, data)`, with `write` for what is inside; None for a foreign value."""
        return None

    def read(self, kind, data):
        raise KeyError(kind)

    def plain(self, value):
        """JSON that the framework treats as it does the value; raises if there is none."""
        raise TypeError(type(value).__name__)

    def show(self, value):
        return str(value)

    def told(self, result):
        """The value of a result that is known as the model was told of it, wrapped as its provider wraps texts."""
        blocks = result if isinstance(result, list) and len(result) == 1 else [None]
        is_text = isinstance(blocks[0], dict) and blocks[0].get("type") == "text" and "text" in blocks[0]
        return blocks[0]["text"] if is_text else result


class Told(str):
    """A text that the framework made of an error by itself."""


class _Foreign(Exception):
    pass


def written(value, shape):
    """`(result, form)` of a value that is not None."""
    if type(value) is str:
        return value, "text"
    tagged = []

    def write(value):
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is list:
            return [write(item) for item in value]
        if kind is dict and all(type(key) is str and not key.startswith("$") for key in value):
            return {key: write(item) for key, item in value.items()}
        own = ("tuple", [write(item) for item in value]) if kind is tuple else shape.write(value, write)
        if own is None:
            raise _Foreign
        tagged.append(own[0])
        return {f"${own[0]}": own[1]}

    try:
        data = write(value)
        return _text(data), "python" if tagged else "json"
    except (_Foreign, ValueError, RecursionError):
        pass
    try:
        return _text(shape.plain(value)), "json"
    except Exception:
        return shape.show(value), "shown"


def read(result, form, shape):
    """The value that was written. Without a form it is what a model was told."""
    if form == "json" and isinstance(result, str):
        return json.loads(result)
    if form == "python" and isinstance(result, str):
        return json.loads(result, object_hook=lambda members: _object(members, shape))
    return result if form else shape.told(result)


def _object(members, shape):
    if len(members) == 1:
        ((key, data),) = members.items()
        if key == "$tuple":
            return tuple(data)
        if key.startswith("$"):
            return shape.read(key[1:], data)
    return members


def _text(data):
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def arguments(value):
    """Arguments as JSON, whatever is in them."""
    try:
        return json.loads(json.dumps(value, default=_argument))
    except Exception:
        return None


def _argument(value):
    for name in ("model_dump", "dict"):
        dump = getattr(value, name, None)
        if callable(dump):
            try:
                return dump(mode="json") if name == "model_dump" else dump()
            except Exception:
                break
    return str(value)


def error_written(error):
    """What was raised, and enough to raise it again."""
    kind = type(error)
    told = {"type": f"{kind.__module__}.{kind.__qualname__}", "message": str(error)}
    try:
        state = {key: value for key, value in vars(error).items() if not key.startswith("__")}
        form = _text({"args": list(error.args), "state": state, "module": kind.__module__})
        # Not what JSON would make another value of.
        return {**told, "form": form} if list(error.args) == json.loads(form)["args"] else told
    except (TypeError, ValueError, RecursionError):
        return told


def error_read(error, form):
    """The recorded error, of its own class where that is loaded; None if it cannot be made again."""
    import sys

    try:
        made = json.loads(form) if form else {}
        name = error["type"]
        module = made.get("module") or name.rpartition(".")[0] or "builtins"
        kind = sys.modules[module]
        for part in name[len(module) + 1 :].split("."):
            kind = getattr(kind, part)
        if not issubclass(kind, BaseException):
            return None
        args = made.get("args", [error.get("message", "")])
        again = kind.__new__(kind, *args)
        again.args = tuple(args)
        again.__dict__.update(made.get("state", {}))
        return again
    except Exception:
        return None
