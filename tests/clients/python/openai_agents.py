"""OpenAI Agents SDK. Argument: `whole` or `stream`."""

import asyncio
import sys

from agents import Agent, Runner, function_tool, set_tracing_disabled

import tools

set_tracing_disabled(True)
agent = Agent(
    name="travel",
    instructions="Plan short trips. Use the tools.",
    tools=[function_tool(tools.get_weather), function_tool(tools.convert_currency)],
    model="gpt-4o-mini",
)


async def streamed():
    result = Runner.run_streamed(agent, tools.PROMPT)
    async for _ in result.stream_events():
        pass
    return result.final_output


if sys.argv[1] == "stream":
    print("FINAL", asyncio.run(streamed()))
else:
    print("FINAL", Runner.run_sync(agent, tools.PROMPT).final_output)
