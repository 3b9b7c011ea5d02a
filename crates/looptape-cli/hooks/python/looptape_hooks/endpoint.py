"""Speaks to the looptape that started this program: the protocol of tool calls, over loopback HTTP.

One connection a thread, kept alive. What is only told goes by a thread of its own, so that no tool waits for it; what is
asked is waited for. A forked child has connections of its own.
"""

import atexit
import json
import os
import queue
import threading
import time
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, urlsplit

ASK_S = 60.0
TELL_S = 2.0
# What is told while looptape does not listen is dropped from here on.
MOST_UNTOLD = 10_000


class Unreachable(Exception):
    """Nobody answered, or not as the protocol says."""


class Endpoint:
    def __init__(self, url, trace):
        self._address = urlsplit(url)
        self._path = f"{self._address.path.rstrip('/')}/t/{quote(trace, safe='')}/_looptape/v1/tool"
        self._threads = threading.local()
        self._untold = None
        self._starting = threading.Lock()

    def ask(self, body):
        """Posts, and waits for the answer: an object."""
        return self._post(json.dumps(body).encode(), ASK_S)

    def tell(self, body):
        """Posts a little later."""
        with self._starting:
            if self._untold is None:
                self._start_telling()
        if self._untold.qsize() < MOST_UNTOLD:
            self._untold.put((body, time.monotonic_ns()))

    def forked(self):
        """In a forked child: the parent's thread and connections are not its own."""
        self._threads = threading.local()
        self._untold = None
        self._starting = threading.Lock()

    def _start_telling(self):
        self._untold = queue.SimpleQueue()
        thread = threading.Thread(target=self._tell_all, args=(self._untold,), name="looptape", daemon=True)
        thread.start()
        pid = os.getpid()

        def finish():
            if os.getpid() == pid:
                self._untold.put(None)
                thread.join(TELL_S)

        atexit.register(finish)

    def _tell_all(self, untold):
        for body, since in iter(untold.get, None):
            try:
                body["ago_us"] = body.get("ago_us", 0) + (time.monotonic_ns() - since) // 1000
                self._post(json.dumps(body).encode(), TELL_S)
            except Exception:
                # What cannot be told is not recorded; the agent goes on.
                pass

    def _post(self, body, timeout_s):
        kept = getattr(self._threads, "connection", None)
        try:
            return self._post_on(kept or self._connect(timeout_s), body)
        except (OSError, HTTPException, ValueError) as error:
            self._threads.connection = None
            # The server may have closed a connection that had been idle.
            if kept is None or isinstance(error, (TimeoutError, ValueError)):
                raise Unreachable(f"{type(error).__name__}: {error}") from error
        try:
            return self._post_on(self._connect(timeout_s), body)
        except (OSError, HTTPException, ValueError) as error:
            self._threads.connection = None
            raise Unreachable(f"{type(error).__name__}: {error}") from error

    def _connect(self, timeout_s):
        self._threads.connection = HTTPConnection(self._address.hostname, self._address.port, timeout=timeout_s)
        return self._threads.connection

    def _post_on(self, connection, body):
        connection.request("POST", self._path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status not in (200, 202):
            raise ValueError(f"HTTP {response.status}: {text[:200].decode(errors='replace')}")
        answer = json.loads(text)
        if not isinstance(answer, dict):
            raise ValueError("the answer is no object")
        return answer
