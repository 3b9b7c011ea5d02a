"""smolagents' tool-calling agent on the OpenAI SDK or litellm. Argument: `openai` or `litellm`.

The agent hands its answer in by a tool of its own, which the simulated provider does not call: after two steps
the agent asks for the answer in words."""

import sys

from smolagents import LiteLLMModel, OpenAIServerModel, ToolCallingAgent, tool

import tools


@tool
def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: The city's name.
    """
    return tools.get_weather(city)


@tool
def convert_currency(amount: float, source: str, target: str) -> str:
    """Converts an amount between two currencies.

    Args:
        amount: How much.
        source: The currency it is in.
        target: The currency it is to be in.
    """
    return tools.convert_currency(amount, source, target)


if sys.argv[1] == "openai":
    model = OpenAIServerModel(model_id="gpt-4o-mini")
else:
    model = LiteLLMModel(model_id="openai/gpt-4o-mini")
agent = ToolCallingAgent(tools=[get_weather, convert_currency], model=model, max_steps=2, verbosity_level=-1)
answer = str(agent.run(tools.PROMPT))
print("FINAL", " ".join(answer.split()))
