"""A small agent on the OpenAI SDK: streaming, parallel tools. The SDK retries by itself.

    looptape record -- python3 examples/python-openai/agent.py
    looptape replay last -- python3 examples/python-openai/agent.py
"""

import asyncio
import json

from openai import AsyncOpenAI

QUESTION = "Oslo or Lisbon for the weekend? I have 2500 kroner to spend."


async def get_weather(city):
    return {"Oslo": "rain, 7 °C", "Lisbon": "sunny, 24 °C"}.get(city, "unknown")


async def convert_currency(amount, source, target):
    return f"{amount:g} {source} = {amount * 0.086:g} {target}"


def definition(function, description, **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "type": "function",
        "function": {"name": function.__name__, "description": description, "parameters": parameters},
    }


STRING, NUMBER = {"type": "string"}, {"type": "number"}
TOOLS = [
    definition(get_weather, "Today's weather in a city.", city=STRING),
    definition(convert_currency, "Converts money.", amount=NUMBER, source=STRING, target=STRING),
]
FUNCTIONS = {"get_weather": get_weather, "convert_currency": convert_currency}


async def complete(client, history):
    print("assistant: ", end="")
    async with client.chat.completions.stream(
        model="gpt-4o-mini", messages=history, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        async for event in stream:
            if event.type == "content.delta":
                print(event.delta, end="", flush=True)
        completion = await stream.get_final_completion()
    print()
    return completion.choices[0].message


async def run_tool(call):
    result = await FUNCTIONS[call.function.name](**json.loads(call.function.arguments))
    return {"role": "tool", "tool_call_id": call.id, "content": result}


async def main():
    print("user:", QUESTION)
    history = [{"role": "user", "content": QUESTION}]
    async with AsyncOpenAI() as client:
        while True:
            message = await complete(client, history)
            if not message.tool_calls:
                return
            calls = [
                {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
                for c in message.tool_calls
            ]
            history.append({"role": "assistant", "content": message.content, "tool_calls": calls})
            results = await asyncio.gather(*(run_tool(call) for call in message.tool_calls))
            for call, result in zip(message.tool_calls, results):
                print(f"tool: {call.function.name}({call.function.arguments}) = {result['content']}")
            history += results


asyncio.run(main())
