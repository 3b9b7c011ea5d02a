"""A small agent on Python's standard library alone: streaming, parallel tools, retries.

    looptape record -- python3 examples/python-stdlib/agent.py
    looptape replay last -- python3 examples/python-stdlib/agent.py
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

BASE_URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1").rstrip("/")
API_KEY = os.environ.get("OPENAI_API_KEY", "")
QUESTION = "Oslo or Lisbon for the weekend? I have 2500 kroner to spend."


def get_weather(city):
    return {"Oslo": "rain, 7 °C", "Lisbon": "sunny, 24 °C"}.get(city, "unknown")


def convert_currency(amount, source, target):
    return f"{amount:g} {source} = {amount * 0.086:g} {target}"


def definition(function, description, **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "type": "function",
        "function": {"name": function.__name__, "description": description, "parameters": parameters},
    }


STRING, NUMBER = {"type": "string"}, {"type": "number"}
TOOLS = [
    definition(get_weather, "Today's weather in a city.", city=STRING),
    definition(convert_currency, "Converts money.", amount=NUMBER, source=STRING, target=STRING),
]
FUNCTIONS = {"get_weather": get_weather, "convert_currency": convert_currency}


def send(body):
    """Posts a request; a refusal is tried again after the time that the provider names."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {API_KEY}"}
    request = urllib.request.Request(f"{BASE_URL}/chat/completions", json.dumps(body).encode(), headers)
    for attempt in range(4):
        try:
            return urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 500, 502, 503) or attempt == 3:
                sys.exit(f"agent: the provider answered {error.code}: {error.read().decode()}")
            wait_ms = error.headers.get("retry-after-ms")
            wait_s = float(wait_ms) / 1000 if wait_ms else float(error.headers.get("retry-after", 1))
            print(f"(refused with {error.code}, trying again)", flush=True)
            time.sleep(wait_s)


def complete(history):
    """One streamed answer, put together from its events."""
    body = {
        "model": "gpt-4o-mini",
        "messages": history,
        "tools": TOOLS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    text, calls = "", []
    with send(body) as response:
        for line in response:
            if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
                continue
            for choice in json.loads(line[6:])["choices"]:
                delta = choice["delta"]
                text += delta.get("content") or ""
                for part in delta.get("tool_calls", []):
                    if part["index"] == len(calls):
                        calls.append({"id": part["id"], "type": "function", "function": part["function"]})
                    else:
                        calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}


def run_tool(call):
    function = call["function"]
    result = FUNCTIONS[function["name"]](**json.loads(function["arguments"]))
    return {"role": "tool", "tool_call_id": call["id"], "content": result}


history = [{"role": "user", "content": QUESTION}]
print("user:", QUESTION)
while True:
    answer = complete(history)
    history.append(answer)
    print("assistant:", answer["content"], flush=True)
    if "tool_calls" not in answer:
        break
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(run_tool, answer["tool_calls"]))
    for call, result in zip(answer["tool_calls"], results):
        print(f"tool: {call['function']['name']}({call['function']['arguments']}) = {result['content']}")
    history += results
