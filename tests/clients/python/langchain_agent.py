"""LangGraph's prebuilt agent on langchain-anthropic or langchain-google-genai. Argument: `anthropic` or `google`."""

import sys

from langchain.agents import create_agent
from langchain_core.tools import tool

import tools


def model(vendor):
    if vendor == "anthropic":
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(model="claude-sonnet-4-5")
    from langchain_google_genai import ChatGoogleGenerativeAI

    return ChatGoogleGenerativeAI(model="gemini-2.5-flash")


agent = create_agent(model(sys.argv[1]), [tool(tools.get_weather), tool(tools.convert_currency)])
content = agent.invoke({"messages": [("user", tools.PROMPT)]})["messages"][-1].content
if isinstance(content, list):
    content = "".join(part if isinstance(part, str) else part.get("text", "") for part in content)
print("FINAL", content)
