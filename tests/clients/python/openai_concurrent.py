"""OpenAI SDK, asynchronous: eight different calls at once. Each must get its own answer.
Argument: `chat` or `responses`."""

import asyncio
import sys

from openai import AsyncOpenAI


async def chat(client, text):
    messages = [{"role": "user", "content": text}]
    stream = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
    pieces = [c.choices[0].delta.content or "" async for c in stream if c.choices]
    return "".join(pieces)


async def responses(client, text):
    response = await client.responses.create(model="gpt-4o-mini", input=text)
    return response.output_text


async def main(ask):
    texts = [f"question {n} of {'abcdefgh'[n]}" for n in range(8)]
    async with AsyncOpenAI() as client:
        answers = await asyncio.gather(*(ask(client, text) for text in texts))
    for text, answer in zip(texts, answers):
        assert text in answer, f"{text!r} got the answer {answer!r}"
    print("FINAL", " | ".join(answers))


asyncio.run(main({"chat": chat, "responses": responses}[sys.argv[1]]))
