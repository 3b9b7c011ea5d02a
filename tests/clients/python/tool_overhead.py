"""Calls one LangChain tool again and again; prints how long a call took, in µs, as a JSON object. Argument: how often."""

import json
import os
import sys
import time
import urllib.request

from langchain_core.tools import tool


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return "rain, 7 °C"


def ask():
    """A recording without a model call cannot be replayed."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello to Oslo"}]}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    urllib.request.urlopen(request).read()


def call(nth):
    began = time.perf_counter_ns()
    get_weather.invoke({"type": "tool_call", "id": f"c{nth}", "name": "get_weather", "args": {"city": "Oslo"}})
    return (time.perf_counter_ns() - began) / 1000


ask()
times = sorted(call(nth) for nth in range(int(sys.argv[1])))
print(json.dumps({"p50": times[len(times) // 2], "p95": times[len(times) * 95 // 100], "mean": sum(times) / len(times)}))
