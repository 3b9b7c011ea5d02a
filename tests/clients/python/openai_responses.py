"""OpenAI SDK, Responses. Argument: `whole` or `stream`."""

import json
import sys

from openai import OpenAI

import tools

TOOLS = [{"type": "function", "name": n, "description": d, "parameters": s} for n, d, s in tools.SCHEMAS]


def whole(client, history):
    return client.responses.create(model="gpt-4o-mini", input=history, tools=TOOLS, store=False)


def streamed(client, history):
    with client.responses.stream(model="gpt-4o-mini", input=history, tools=TOOLS, store=False) as stream:
        for _ in stream:
            pass
        return stream.get_final_response()


ask = {"whole": whole, "stream": streamed}[sys.argv[1]]
client = OpenAI()
history = [{"role": "user", "content": tools.PROMPT}]
while True:
    response = ask(client, history)
    calls = [item for item in response.output if item.type == "function_call"]
    if not calls:
        break
    history += [
        item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output
    ]
    for call in calls:
        result = tools.run(call.name, json.loads(call.arguments))
        history.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
print("FINAL", response.output_text)
