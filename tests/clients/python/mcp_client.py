"""Speaks to an MCP server through the official SDK: lists its tools, calls some, and prints what came."""

import asyncio
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def converse(session):
    await session.initialize()
    tools = await session.list_tools()
    print("tools", len(tools.tools))
    seen = []

    async def progress(done, total, message):
        seen.append(done)

    for name, arguments in [("echo", {"message": "hello"}), ("get-sum", {"a": 2, "b": 3})]:
        result = await session.call_tool(name, arguments)
        print(name, result.content[0].text)
    result = await session.call_tool(
        "trigger-long-running-operation", {"duration": 0.3, "steps": 3}, progress_callback=progress
    )
    print("long", result.content[0].text, "progress", seen)
    result = await session.call_tool("no-such-tool", {})
    print("error", result.content[0].text[:40])
    resources = await session.list_resources()
    print("resources", len(resources.resources) > 0)


async def main(command):
    # Only a few variables are handed on to servers, as the SDK does by itself.
    async with stdio_client(StdioServerParameters(command=command[0], args=command[1:])) as (read, write):
        async with ClientSession(read, write) as session:
            await converse(session)


asyncio.run(main(sys.argv[1:]))
