"""What a hook adds to a tool call.

    looptape record -- python3 sdk/python/benchmark.py
    looptape replay last -- python3 sdk/python/benchmark.py

Prints the median and the 99th percentile of calls of a function that does nothing, less what it takes without a hook.
"""

import contextlib
import os
import statistics
import time
import urllib.request

import looptape

CALLS = 1000


def nothing(n):
    return {"n": n}


def times(function):
    taken = []
    for n in range(CALLS):
        began = time.perf_counter_ns()
        function(n)
        taken.append((time.perf_counter_ns() - began) / 1000)
    return taken


hooked, plain = times(looptape.tool(nothing)), times(nothing)
base = statistics.median(plain)
p50, p99 = statistics.median(hooked) - base, statistics.quantiles(hooked, n=100)[98] - base
print(f"{CALLS} calls, hook active: {looptape.is_active()}, added: p50 {p50:.0f} µs, p99 {p99:.0f} µs")

# A recording without a model call is not replayed.
with contextlib.suppress(OSError):
    body = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}'
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})).read()
