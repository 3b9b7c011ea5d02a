"""claude-agent-sdk, which drives a claude-code of its own."""

import asyncio

from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, query


async def main():
    options = ClaudeAgentOptions(allowed_tools=["Bash"], max_turns=5)
    async for message in query(prompt="Count the lines of list.txt", options=options):
        if isinstance(message, ResultMessage):
            print("FINAL", message.result)


asyncio.run(main())
