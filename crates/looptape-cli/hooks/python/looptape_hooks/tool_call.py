"""One tool call: recorded around the tool, or answered in its place.

Recording never harms the agent: whatever goes wrong here, the tool has run, and its value or error is passed on as it is.
In a replay a tool runs only if looptape says so.
"""

import asyncio
import contextvars
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from . import forms
from .endpoint import Endpoint, Unreachable

_ENDPOINT = Endpoint(os.environ["LOOPTAPE_URL"], os.environ["LOOPTAPE_TRACE"])
_REPLAYS = os.environ["LOOPTAPE_MODE"] == "replay"
# Calls in whose tools this code runs, the outermost first.
_WITHIN = contextvars.ContextVar("looptape_within", default=())
_ASKING = None


_UNKNOWN = "Record the run again to have its tools measured, or let them run with --no-tool-hooks"


class ToolError(Exception):
    """What a recorded tool call failed with, where its own class is not at hand; or why a tool did not run."""


class ToolCall:
    """What is known of a call before the tool runs."""

    __slots__ = ("name", "arguments", "call_id", "via", "shape", "puts_off", "told", "gives", "asks_models", "is_compared", "_said")

    def __init__(self, name, arguments, call_id, via, shape, puts_off=(), told=None, gives=None):
        self.name, self.arguments, self.call_id, self.via, self.shape = name, arguments, call_id, via, shape
        # Exceptions by which a framework puts the run off: a human is asked first, for example.
        self.puts_off = puts_off
        # Makes the value of an error that is known only by what the model was told of it.
        self.told = told
        # "measured": what the model was told of a result cannot be made a value of; the replay tells the model again.
        self.gives = gives
        self.asks_models = False
        # Whether a replay is told what the tool gave, where it let the tool run.
        self.is_compared = True
        self._said = None

    def said(self, phase):
        if self._said is None:
            self._said = {"name": self.name, "arguments": forms.arguments(self.arguments), "via": self.via}
            if self.call_id:
                self._said["call_id"] = self.call_id
            if self.gives:
                self._said["gives"] = self.gives
        return {"phase": phase, **self._said}


def within():
    """The calls in whose tools this code runs."""
    return _WITHIN.get()


def run(call, tool):
    """Calls `tool()`, or gives what the recording holds in its place."""
    if _REPLAYS:
        answer = _allowed(call, _asked(call.said("ask")))
        if answer is not None:
            return _given(call, answer)
    running = _Running(call)
    token = _WITHIN.set((*_WITHIN.get(), call))
    try:
        value = tool()
    except Exception as error:
        return _given_instead(call, running.failed(error), error)
    except BaseException as error:
        running.failed(error)
        raise
    finally:
        _WITHIN.reset(token)
    answer = _asked_after(running.gave(value))
    return value if answer is None else _given(call, answer)


async def run_async(call, tool):
    """The same for a tool that is awaited."""
    if _REPLAYS:
        answer = _allowed(call, await _asked_async(call.said("ask")))
        if answer is not None:
            return _given(call, answer)
    running = _Running(call)
    token = _WITHIN.set((*_WITHIN.get(), call))
    try:
        value = await tool()
    except asyncio.CancelledError as error:
        running.failed(error)
        raise
    except Exception as error:
        return _given_instead(call, running.failed(error), error)
    except BaseException as error:
        running.failed(error)
        raise
    finally:
        _WITHIN.reset(token)
    answer = _asked_after(running.gave(value))
    return value if answer is None else _given(call, answer)


def _asked(body):
    """The answer, or why there is none."""
    try:
        return _ENDPOINT.ask(body)
    except Unreachable as error:
        return {"message": f"the replay does not answer: {error}"}


async def _asked_async(body):
    """Without holding up the event loop, where it is asyncio's."""
    global _ASKING
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _asked(body)
    if _ASKING is None:
        _ASKING = ThreadPoolExecutor(8, thread_name_prefix="looptape")
    return await loop.run_in_executor(_ASKING, _asked, body)


def _allowed(call, answer):
    """None if the tool is to run, else the answer in its place."""
    verdict = answer.get("verdict")
    if verdict == "run":
        return None
    if verdict == "answer":
        if _form(answer) != "runs":
            return answer
        call.is_compared = False
        return None
    message = answer.get("message") or f"the replay said {verdict!r}"
    raise ToolError(f"looptape: {call.name} was not run: {message}")


def _asked_after(body):
    """What the agent gets in the place of what the tool gave; None if nothing."""
    answer = _asked(body) if body is not None else {}
    return answer if answer.get("verdict") == "answer" else None


def _given_instead(call, body, error):
    answer = _asked_after(body)
    if answer is None:
        raise error
    return _given(call, answer)


class _Running:
    """A tool that runs. In a recording it is told of; in a replay yields what is to be asked when it has run."""

    def __init__(self, call):
        self._call = call
        self._run = uuid.uuid4().hex
        if not _REPLAYS:
            _tell(lambda: {**call.said("started"), "run": self._run})
        self._started_ns = time.perf_counter_ns()

    def gave(self, value):
        return self._ended(lambda: _success(self._call, value))

    def failed(self, error):
        return self._ended(lambda: _failure(self._call, error))

    def _ended(self, came):
        call = self._call
        duration_us = (time.perf_counter_ns() - self._started_ns) // 1000

        def body():
            end = _runs_again(came()) if call.asks_models else came()
            return {**call.said("ended"), **end, "duration_us": duration_us, "run": self._run}

        if not _REPLAYS:
            return _tell(body)
        return body() if call.is_compared else None


def _tell(body):
    try:
        _ENDPOINT.tell(body())
    except Exception:
        # Nothing of the recording reaches the agent.
        pass


def _runs_again(end):
    """The same end, of a tool that is to run in a replay too."""
    if "error" in end:
        return {**end, "error": {**end["error"], "form": "runs"}}
    return {"outcome": "ok", "result": end.get("result"), "form": "runs"}


def _form(answer):
    return answer.get("form") or (answer.get("error") or {}).get("form")


def _success(call, value):
    if isinstance(value, forms.Told):
        return {"outcome": "error", "error": {"message": str(value), "form": "told"}}
    if value is None:
        return {"outcome": "null"}
    result, form = forms.written(value, call.shape)
    return {"outcome": "ok", "result": result, "form": form}


def _failure(call, error):
    told = forms.error_written(error)
    if isinstance(error, call.puts_off):
        return {"outcome": "aborted", "error": {**told, "form": "runs"}}
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        outcome = "timeout"
    elif isinstance(error, Exception) and not isinstance(error, asyncio.CancelledError):
        outcome = "error"
    else:
        outcome = "aborted"
    return {"outcome": outcome, "error": told}


def _given(call, answer):
    """What the recording holds: a value, or an error that is raised as then."""
    outcome, form = answer.get("outcome"), _form(answer)
    if outcome == "ok":
        return forms.read(answer.get("result"), form, call.shape)
    if outcome == "null":
        return None
    error = answer.get("error") or {}
    message = error.get("message") or f"the recorded call of {call.name} ended as {outcome}"
    if outcome == "aborted" and answer.get("from") == "history":
        # Nobody measured it, and no later request carries what it gave.
        raise ToolError(f"looptape: {call.name} was not run: {message}. {_UNKNOWN}")
    if call.told is not None and (form == "told" or answer.get("from") == "history"):
        return call.told(message)
    again = forms.error_read(error, form)
    if again is None:
        again = TimeoutError(message) if outcome == "timeout" else ToolError(message)
    raise again


if hasattr(os, "register_at_fork"):

    def _forked():
        global _ASKING
        _ASKING = None
        _ENDPOINT.forked()

    os.register_at_fork(after_in_child=_forked)
