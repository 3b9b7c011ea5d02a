"""Anthropic SDK, Messages, with a cache mark that moves to the newest message.
Argument: `whole` or `stream`."""

import sys

from anthropic import Anthropic

import tools

TOOLS = [{"name": n, "description": d, "input_schema": s} for n, d, s in tools.SCHEMAS]
MARK = {"cache_control": {"type": "ephemeral"}}


def marked(messages):
    """The messages with a cache mark on the last block, and nowhere else."""
    *earlier, last = messages
    *blocks, block = last["content"]
    return [*earlier, {**last, "content": [*blocks, {**block, **MARK}]}]


def whole(client, messages):
    return client.messages.create(
        model="claude-sonnet-4-6", max_tokens=500, messages=marked(messages), tools=TOOLS
    )


def streamed(client, messages):
    with client.messages.stream(
        model="claude-sonnet-4-6", max_tokens=500, messages=marked(messages), tools=TOOLS
    ) as stream:
        for _ in stream:
            pass
        return stream.get_final_message()


ask = {"whole": whole, "stream": streamed}[sys.argv[1]]
client = Anthropic()
messages = [{"role": "user", "content": [{"type": "text", "text": tools.PROMPT}]}]
while True:
    message = ask(client, messages)
    calls = [block for block in message.content if block.type == "tool_use"]
    if not calls:
        break
    echo = [
        {"type": "text", "text": b.text}
        if b.type == "text"
        else {"type": "tool_use", "id": b.id, "name": b.name, "input": b.input}
        for b in message.content
    ]
    results = [
        {"type": "tool_result", "tool_use_id": c.id, "content": tools.run(c.name, c.input)} for c in calls
    ]
    messages += [{"role": "assistant", "content": echo}, {"role": "user", "content": results}]
print("FINAL", "".join(block.text for block in message.content if block.type == "text"))
