"""An agent that has its tools from an MCP server. Arguments: `openai-agents` or `langchain`, then `http`, or the command
line of a server over stdio."""

import asyncio
import os
import sys

PROMPT = "Oslo or Lisbon for the weekend? I have 2500 kroner. Compare the weather, then convert the budget."
framework, command = sys.argv[1], sys.argv[2:]


def url():
    return f"{os.environ['LOOPTAPE_URL']}/t/{os.environ['LOOPTAPE_TRACE']}/mcp-weather/mcp"


async def openai_agents():
    from agents import Agent, Runner, set_tracing_disabled
    from agents.mcp import MCPServerStdio, MCPServerStreamableHttp

    set_tracing_disabled(True)
    if command[0] == "http":
        server = MCPServerStreamableHttp({"url": url()}, client_session_timeout_seconds=30)
    else:
        parameters = {"command": command[0], "args": command[1:], "env": dict(os.environ)}
        server = MCPServerStdio(parameters, client_session_timeout_seconds=30)
    async with server:
        agent = Agent(name="travel", instructions="Plan short trips.", mcp_servers=[server], model="gpt-4o-mini")
        return (await Runner.run(agent, PROMPT)).final_output


async def langchain():
    from langchain.agents import create_agent
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_mcp_adapters.tools import load_mcp_tools
    from langchain_openai import ChatOpenAI

    if command[0] == "http":
        connection = {"transport": "streamable_http", "url": url()}
    else:
        connection = {"transport": "stdio", "command": command[0], "args": command[1:], "env": dict(os.environ)}
    async with MultiServerMCPClient({"weather": connection}).session("weather") as session:
        agent = create_agent(ChatOpenAI(model="gpt-4o-mini"), await load_mcp_tools(session))
        state = await agent.ainvoke({"messages": [("user", PROMPT)]})
        return state["messages"][-1].content


print("FINAL", asyncio.run({"openai-agents": openai_agents, "langchain": langchain}[framework]()))
