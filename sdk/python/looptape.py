"""Says to looptape what tools do, and where a loop begins and ends.

    @looptape.tool
    def get_weather(city): ...

    with looptape.loop("refund"):
        agent.run()

Under `looptape record` a tool's calls are recorded: arguments, result or error, time. Under `looptape replay` they are
answered from the recording, and the function does not run. Without looptape (no LOOPTAPE_URL) nothing here does anything.
Recording never harms the agent: what cannot be sent is dropped. The protocol is in docs/tools.md; standard library only.
"""

import asyncio
import atexit
import base64
import builtins
import contextlib
import contextvars
import dataclasses
import functools
import http.client
import inspect
import itertools
import json
import os
import queue
import re
import sys
import threading
import time
import typing
import urllib.parse
import uuid

__all__ = ["Denied", "ToolError", "call_id", "headers", "is_active", "loop", "tool"]

_URL = os.environ.get("LOOPTAPE_URL", "")
_TRACE = os.environ.get("LOOPTAPE_TRACE", "")
_IS_REPLAY = os.environ.get("LOOPTAPE_MODE") == "replay"
_ADDRESS = urllib.parse.urlsplit(_URL)
_WAIT_S = 30
_FLUSH_S = 2

_loop = contextvars.ContextVar("looptape_loop", default=None)
_call_id = contextvars.ContextVar("looptape_call_id", default=None)


class ToolError(Exception):
    """What a tool raised when it was recorded, of a type that is not built in; `type` is its name."""

    def __init__(self, message, type=None):
        super().__init__(message)
        self.type = type


class Denied(ToolError):
    """A call that a replay does not let run: it was not recorded, or the policy says so."""


def is_active():
    """Whether looptape records or replays this process."""
    return _ADDRESS.scheme == "http" and bool(_ADDRESS.hostname)


def tool(function=None, *, name=None, writes=True):
    """Marks a function, or a coroutine function, as a tool. `writes=False`: it only reads, so a replay may run a call
    that was not recorded. `name`: as the model knows it, if that is not the function's name."""
    if function is None:
        return functools.partial(tool, name=name, writes=writes)
    if not is_active():
        return function
    about = _Tool(function, name or function.__name__, writes)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run(*args, **kwargs):
            if _is_hooked(about.name):
                return await function(*args, **kwargs)
            call = _Call(about, args, kwargs)
            if _IS_REPLAY:
                verdict = await asyncio.to_thread(call.ask)
                if verdict is not None:
                    return call.obey(verdict)
            call.start()
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                verdict = await _in_time(call.failed, error)
                if verdict is None:
                    raise
                return call.obey(verdict)
            verdict = await _in_time(call.returned, result)
            return result if verdict is None else call.obey(verdict)

    else:

        @functools.wraps(function)
        def run(*args, **kwargs):
            if _is_hooked(about.name):
                return function(*args, **kwargs)
            call = _Call(about, args, kwargs)
            if _IS_REPLAY:
                verdict = call.ask()
                if verdict is not None:
                    return call.obey(verdict)
            call.start()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                verdict = call.failed(error)
                if verdict is None:
                    raise
                return call.obey(verdict)
            verdict = call.returned(result)
            return result if verdict is None else call.obey(verdict)

    return run


def _is_hooked(name):
    """Whether this is what runs inside a framework's tool of the same name, for which looptape's hooks speak already."""
    hooks = sys.modules.get("looptape_hooks.tool_call")
    calls = hooks.within() if hooks is not None else ()
    return bool(calls) and calls[-1].name == name


@contextlib.contextmanager
def call_id(id):
    """The model's id of the tool call that runs inside: tells calls with the same arguments apart."""
    token = _call_id.set(id)
    try:
        yield
    finally:
        _call_id.reset(token)


_names = {}
_names_lock = threading.Lock()


class loop(contextlib.ContextDecorator):
    """One task of the agent: the model calls made inside are a loop of this name. A context manager and a decorator,
    also of coroutines. A name that comes again is a loop of its own."""

    def __init__(self, name, trace=None):
        """`trace`: an id, or an incoming W3C traceparent, if the trace is not the recorded run's."""
        self.name, self.trace = name, _trace_id(trace)
        self._tokens = []

    def __enter__(self):
        if is_active():
            _add_headers_to_clients()
        with _names_lock:
            nth = _names[self.name] = _names.get(self.name, 0) + 1
        outer = _loop.get()
        trace = self.trace or (outer and outer["trace"])
        label = self.name if nth == 1 else f"{self.name} {nth}"
        self._tokens.append(_loop.set({"name": label, "trace": trace}))
        return self

    def __exit__(self, *_):
        _loop.reset(self._tokens.pop())
        return False

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, *error):
        return self.__exit__(*error)

    def __call__(self, function):
        if not inspect.iscoroutinefunction(function):
            return super().__call__(function)

        @functools.wraps(function)
        async def run(*args, **kwargs):
            async with loop(self.name, self.trace):
                return await function(*args, **kwargs)

        return run

    def _recreate_cm(self):
        return loop(self.name, self.trace)


def headers():
    """Headers that say which loop and trace a request is of: for clients that do not get them by themselves, and for
    other services. Empty without looptape."""
    current = _loop.get()
    if not is_active():
        return {}
    made = {}
    trace = (current and current["trace"]) or _TRACE
    if current:
        made["x-looptape-loop"] = current["name"].encode("ascii", "replace").decode()
        if current["trace"]:
            made["x-looptape-trace"] = current["trace"]
    if re.fullmatch("[0-9a-f]{32}", trace):
        made["traceparent"] = f"00-{trace}-{uuid.uuid4().hex[:16]}-01"
    return made


def _trace_id(given):
    parent = re.fullmatch("[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", given or "")
    return parent.group(1) if parent else given


class _Tool:
    def __init__(self, function, name, writes):
        self.function, self.name, self.writes = function, name, writes
        try:
            self.signature = inspect.signature(function)
        except (TypeError, ValueError):
            self.signature = None

    def arguments(self, args, kwargs):
        try:
            bound = self.signature.bind(*args, **kwargs).arguments
        except (AttributeError, TypeError):
            bound = {**{str(at): value for at, value in enumerate(args)}, **kwargs}
        named = {}
        for name, value in bound.items():
            kind = self.signature.parameters[name].kind if self.signature else None
            if kind is inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            elif name not in ("self", "cls"):
                named[name] = value
        return named

    def returns(self):
        try:
            return typing.get_type_hints(self.function).get("return")
        except Exception:
            return None


_runs = itertools.count(1)
_PROCESS = uuid.uuid4().hex[:12]


class _Call:
    """One execution of a tool."""

    def __init__(self, tool, args, kwargs):
        self.tool = tool
        self.said = {
            "name": tool.name,
            "arguments": tool.arguments(args, kwargs),
            "run": f"{_PROCESS}-{os.getpid()}-{next(_runs)}",
            "via": "python",
        }
        if not tool.writes:
            self.said["writes"] = False
        if _call_id.get():
            self.said["call_id"] = _call_id.get()

    def ask(self):
        """What a replay says of this call; None: it runs."""
        try:
            verdict = _request({**self.said, "phase": "ask"})
        except Exception as error:
            if not self.tool.writes:
                return None
            return {"verdict": "deny", "message": f"looptape does not answer ({error}): {self.tool.name} does not run"}
        if verdict.get("verdict") == "run" or (verdict.get("verdict") not in ("answer", "deny") and not self.tool.writes):
            return None
        return verdict

    def start(self):
        self.began = time.monotonic_ns()
        if not _IS_REPLAY:
            _sender.put({**self.said, "phase": "started"}, self.began)

    def returned(self, result):
        return self._end(_encoded(result))

    def failed(self, error):
        aborted = (KeyboardInterrupt, GeneratorExit, SystemExit, asyncio.CancelledError)
        if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
            outcome = "timeout"
        else:
            outcome = "aborted" if isinstance(error, aborted) else "error"
        # What a KeyError shows is the repr of what it was made with.
        text = error.args[0] if len(error.args) == 1 and isinstance(error.args[0], str) else str(error)
        said = {"type": type(error).__name__, "message": text}
        verdict = self._end({"outcome": outcome, "error": said})
        # What breaks off the agent breaks it off in a replay too.
        return None if isinstance(error, aborted) else verdict

    def _end(self, end):
        ended = time.monotonic_ns()
        message = {**self.said, **end, "phase": "ended", "duration_us": (ended - self.began) // 1000}
        if not _IS_REPLAY:
            _sender.put(message, ended)
            return None
        try:
            verdict = _request(message)
        except Exception:
            return None
        return verdict if verdict.get("verdict") == "answer" else None

    def obey(self, verdict):
        """Gives what the recording says that the tool gave."""
        if verdict.get("verdict") == "answer":
            outcome, error = verdict.get("outcome"), verdict.get("error") or {}
            if outcome == "null":
                return None
            if outcome == "ok":
                return _decoded(verdict, self.tool)
            message, kind = error.get("message", outcome), error.get("type")
            if outcome == "timeout":
                raise TimeoutError(message)
            known = getattr(builtins, kind or "", None)
            if isinstance(known, type) and issubclass(known, Exception):
                with contextlib.suppress(TypeError):
                    built = known(message)
                    raise built
            raise ToolError(message, kind)
        raise Denied(verdict.get("message", f"looptape gave no answer that is understood: {self.tool.name} does not run"))


async def _in_time(report, value):
    """While recording nothing is waited for."""
    return await asyncio.to_thread(report, value) if _IS_REPLAY else report(value)


def _encoded(result):
    if result is None:
        return {"outcome": "null"}
    form, value = None, result
    if isinstance(result, tuple) and not hasattr(result, "_fields"):
        form, value = "tuple", list(result)
    elif isinstance(result, (bytes, bytearray)):
        form, value = "base64", base64.b64encode(result).decode()
    elif hasattr(type(result), "model_dump") and hasattr(type(result), "model_validate"):
        form, value = "model", result.model_dump(mode="json")
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        form, value = "dataclass", dataclasses.asdict(result)
    try:
        same = json.loads(json.dumps(value)) == value
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        form, value = "text", str(result)
    return {"outcome": "ok", "result": value, **({"form": form} if form else {})}


def _decoded(verdict, tool):
    form, value, kind = verdict.get("form"), verdict.get("result"), tool.returns()
    if form == "tuple":
        return tuple(value)
    if form == "base64":
        return base64.b64decode(value)
    if form == "model" and hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    if form == "dataclass" and isinstance(kind, type):
        return kind(**value)
    if form in ("model", "dataclass", "text"):
        raise Denied(
            f"looptape: what {tool.name} gave ({form}) cannot be made again from the recording: "
            "annotate its return type with a dataclass or model, or return JSON values"
        )
    return value


_PATH = f"/t/{urllib.parse.quote(_TRACE, safe='')}/_looptape/v1/tool" if _TRACE else "/_looptape/v1/tool"
_connections = threading.local()


def _request(message):
    """Sends one message and gives the answer, on a connection that this thread keeps."""
    body = json.dumps(message, default=str).encode()
    for attempt in (1, 2):
        kept = getattr(_connections, "kept", None)
        if kept is None or _connections.pid != os.getpid():
            kept = http.client.HTTPConnection(_ADDRESS.hostname, _ADDRESS.port or 80, timeout=_WAIT_S)
            _connections.kept, _connections.pid = kept, os.getpid()
        try:
            kept.request("POST", _ADDRESS.path.rstrip("/") + _PATH, body, {"content-type": "application/json"})
            return json.loads(kept.getresponse().read())
        except (http.client.HTTPException, OSError):
            kept.close()
            _connections.kept = None
            if attempt == 2:
                raise


class _Sender:
    """Reports from a thread of its own, in order; the agent waits for nothing."""

    def __init__(self):
        self.waiting, self.thread, self.pid, self.lock = None, None, None, threading.Lock()

    def put(self, message, at_ns):
        # A forked child has none of its parent's threads.
        if self.pid != os.getpid():
            with self.lock:
                if self.pid != os.getpid():
                    self.waiting = queue.Queue(10_000)
                    self.thread = threading.Thread(target=self._run, daemon=True, name="looptape")
                    self.thread.start()
                    self.pid = os.getpid()
                    atexit.register(self.flush)
        with contextlib.suppress(queue.Full):
            self.waiting.put_nowait((message, at_ns))

    def _run(self):
        while (item := self.waiting.get()) is not None:
            message, at_ns = item
            with contextlib.suppress(Exception):
                message["ago_us"] = (time.monotonic_ns() - at_ns) // 1000
                _request(message)

    def flush(self):
        if self.pid == os.getpid():
            with contextlib.suppress(queue.Full):
                self.waiting.put(None, timeout=_FLUSH_S)
            left = None
            # As long as something leaves it is waited for.
            while self.thread.is_alive() and self.waiting.qsize() != left:
                left = self.waiting.qsize()
                self.thread.join(_FLUSH_S)


_sender = _Sender()


def _add_headers_to_clients():
    """Lets clients on http.client (urllib, requests, boto) and httpx (openai, anthropic) say which loop they are in; to
    looptape only."""
    base = http.client.HTTPConnection
    if not hasattr(base.endheaders, "looptape"):
        end = base.endheaders

        @functools.wraps(end)
        def endheaders(self, *args, **kwargs):
            if (self.host, self.port) == (_ADDRESS.hostname, _ADDRESS.port) and _loop.get():
                for name, value in headers().items():
                    self.putheader(name, value)
            return end(self, *args, **kwargs)

        endheaders.looptape = True
        base.endheaders = endheaders
    httpx = sys.modules.get("httpx")
    for client in (getattr(httpx, name) for name in ("Client", "AsyncClient") if httpx):
        if not hasattr(client.send, "looptape"):
            client.send = _sending(client.send)


def _sending(send):
    @functools.wraps(send)
    def sending(self, request, **kwargs):
        if (request.url.host, request.url.port) == (_ADDRESS.hostname, _ADDRESS.port) and _loop.get():
            request.headers.update(headers())
        return send(self, request, **kwargs)

    sending.looptape = True
    return sending
