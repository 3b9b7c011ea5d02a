"""An agent whose tools say what they do: measured when it is recorded, answered when it is replayed.

    looptape record -- python3 examples/python-hooks/agent.py
    looptape replay last -- python3 examples/python-hooks/agent.py

`book` has an effect: it appends a line to the file that BOOKINGS names. In a replay it does not run.
"""

import json
import os
import pathlib
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "sdk/python"))  # `pip install looptape` does the same
import looptape

BASE_URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1").rstrip("/")
BOOKINGS = os.environ.get("BOOKINGS", "bookings.txt")


@looptape.tool(writes=False)
def get_weather(city):
    return {"Oslo": "rain, 7 °C", "Lisbon": "sunny, 24 °C"}.get(city, "unknown")


@looptape.tool
def convert_currency(amount, source, target):
    with open(BOOKINGS, "a") as file:
        file.write(f"{amount} {source}\n")
    return f"{amount:g} {source} = {amount * 0.086:g} {target}"


FUNCTIONS = {"get_weather": get_weather, "convert_currency": convert_currency}


def definition(name, **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


STRING, NUMBER = {"type": "string"}, {"type": "number"}
TOOLS = [
    definition("get_weather", city=STRING),
    definition("convert_currency", amount=NUMBER, source=STRING, target=STRING),
]


def complete(history):
    body = json.dumps({"model": "gpt-4o-mini", "messages": history, "tools": TOOLS}).encode()
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}",
    }
    with urllib.request.urlopen(urllib.request.Request(f"{BASE_URL}/chat/completions", body, headers)) as answer:
        return json.load(answer)["choices"][0]["message"]


def run_tool(call):
    function = call["function"]
    with looptape.call_id(call["id"]):
        result = FUNCTIONS[function["name"]](**json.loads(function["arguments"]))
    return {"role": "tool", "tool_call_id": call["id"], "content": result}


with looptape.loop("weekend"):
    history = [{"role": "user", "content": "Oslo or Lisbon for the weekend? I have 2500 kroner to spend."}]
    while True:
        answer = complete(history)
        history.append(answer)
        if not answer.get("tool_calls"):
            print(answer["content"])
            break
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(run_tool, answer["tool_calls"]))
        for result in results:
            print("tool:", result["content"])
        history += results
