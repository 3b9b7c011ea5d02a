"""LangGraph's prebuilt agent on langchain-openai. Argument: `chat`, `stream` or `responses`."""

import sys

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

import tools

mode = sys.argv[1]
model = ChatOpenAI(
    model="gpt-4o-mini", streaming=(mode == "stream"), use_responses_api=(mode == "responses")
)
agent = create_agent(model, [tool(tools.get_weather), tool(tools.convert_currency)])
state = agent.invoke({"messages": [("user", tools.PROMPT)]})
content = state["messages"][-1].content
if isinstance(content, list):
    content = "".join(part.get("text", "") for part in content)
print("FINAL", content)
