"""The two local tools that every program in this folder offers: deterministic, no network.

Each run of one appends a line to the file that TOOLS_RAN names, so that a test sees whether it ran."""

import os

PROMPT = "Oslo or Lisbon for the weekend? I have 2500 kroner. Compare the weather, then convert the budget."

WEATHER = {"Oslo": "rain, 7 °C", "Lisbon": "sunny, 24 °C"}


def ran(name: str):
    if path := os.environ.get("TOOLS_RAN"):
        with open(path, "a") as file:
            file.write(name + "\n")


def get_weather(city: str) -> str:
    """The weather in a city."""
    ran("get_weather")
    return WEATHER.get(city, "unknown")


def convert_currency(amount: float, source: str, target: str) -> str:
    """Converts an amount between two currencies."""
    ran("convert_currency")
    return f"{amount:g} {source} = {amount * 0.086:g} {target}"


if os.environ.get("TOOLS_DECORATED"):
    # The same functions, said to looptape by its module too.
    import pathlib
    import sys

    sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "sdk/python"))
    import looptape

    get_weather, convert_currency = looptape.tool(get_weather), looptape.tool(convert_currency)


def run(name: str, arguments: dict) -> str:
    return {"get_weather": get_weather, "convert_currency": convert_currency}[name](**arguments)


_WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
_CONVERT_SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "source": {"type": "string"},
        "target": {"type": "string"},
    },
    "required": ["amount", "source", "target"],
    "additionalProperties": False,
}

# (name, description, JSON schema)
SCHEMAS = [
    ("get_weather", get_weather.__doc__, _WEATHER_SCHEMA),
    ("convert_currency", convert_currency.__doc__, _CONVERT_SCHEMA),
]
