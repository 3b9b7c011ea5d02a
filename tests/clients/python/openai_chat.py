"""OpenAI SDK, Chat Completions. Argument: `whole` or `stream`."""

import json
import sys

from openai import OpenAI

import tools

TOOLS = [
    {"type": "function", "function": {"name": n, "description": d, "parameters": s}}
    for n, d, s in tools.SCHEMAS
]


def whole(client, messages):
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=TOOLS)
    return answer.choices[0].message


def streamed(client, messages):
    with client.chat.completions.stream(
        model="gpt-4o-mini", messages=messages, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        for _ in stream:
            pass
        answer = stream.get_final_completion()
    assert answer.usage.prompt_tokens > 0, "a stream with include_usage must end with usage"
    return answer.choices[0].message


ask = {"whole": whole, "stream": streamed}[sys.argv[1]]
client = OpenAI()
messages = [{"role": "user", "content": tools.PROMPT}]
while True:
    message = ask(client, messages)
    if not message.tool_calls:
        break
    calls = [
        {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
        for c in message.tool_calls
    ]
    messages.append({"role": "assistant", "content": message.content, "tool_calls": calls})
    for call in message.tool_calls:
        result = tools.run(call.function.name, json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
print("FINAL", message.content)
