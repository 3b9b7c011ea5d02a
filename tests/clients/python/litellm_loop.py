"""litellm. Arguments: the model with its provider (`openai/gpt-4o-mini`), then `whole` or `stream`."""

import json
import sys

import litellm

import tools

TOOLS = [
    {"type": "function", "function": {"name": n, "description": d, "parameters": s}}
    for n, d, s in tools.SCHEMAS
]
model, mode = sys.argv[1:3]


def ask(messages):
    answer = litellm.completion(model=model, messages=messages, tools=TOOLS, stream=(mode == "stream"))
    if mode == "stream":
        answer = litellm.stream_chunk_builder(list(answer), messages=messages)
    return answer.choices[0].message


messages = [{"role": "user", "content": tools.PROMPT}]
while True:
    message = ask(messages)
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
