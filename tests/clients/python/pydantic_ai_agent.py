"""pydantic-ai. Argument: the model, with its provider, as pydantic-ai names it."""

import sys

from pydantic_ai import Agent

import tools

agent = Agent(sys.argv[1], tools=[tools.get_weather, tools.convert_currency])
print("FINAL", agent.run_sync(tools.PROMPT).output)
