"""The two local tools that every program in this folder offers: deterministic, no network."""

PROMPT = "Oslo or Lisbon for the weekend? I have 2500 kroner. Compare the weather, then convert the budget."

WEATHER = {"Oslo": "rain, 7 °C", "Lisbon": "sunny, 24 °C"}


def get_weather(city: str) -> str:
    """The weather in a city."""
    return WEATHER.get(city, "unknown")


def convert_currency(amount: float, source: str, target: str) -> str:
    """Converts an amount between two currencies."""
    return f"{amount:g} {source} = {amount * 0.086:g} {target}"


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
