"""Vendors' own SDKs. Argument: `ollama`, `ollama-stream`, `groq`, `cohere`, `cohere-stream`, `mistral`,
`mistral-stream`, `mistralhost`, `mistralhost-stream` or `azure`: one question, one answer.

mistralai reads its address from no variable: the program gives it the one that looptape states, or leaves it at its
own host, where only captured egress sees it."""

import os
import sys

ask = "Say hello to Oslo"
messages = [{"role": "user", "content": ask}]


def ollama(stream):
    import ollama

    answer = ollama.chat(model="llama3.2", messages=messages, stream=stream)
    return "".join(part.message.content for part in answer) if stream else answer.message.content


def groq(stream):
    from groq import Groq

    answer = Groq().chat.completions.create(model="llama-3.3-70b-versatile", messages=messages)
    return answer.choices[0].message.content


def cohere(stream):
    import cohere

    client = cohere.ClientV2()
    if not stream:
        return client.chat(model="command-a-03-2025", messages=messages).message.content[0].text
    events = client.chat_stream(model="command-a-03-2025", messages=messages)
    return "".join(e.delta.message.content.text for e in events if e.type == "content-delta")


def mistral(stream):
    return mistral_at(f"{os.environ['LOOPTAPE_URL']}/t/{os.environ['LOOPTAPE_TRACE']}/mistral", stream)


def mistralhost(stream):
    return mistral_at(None, stream)


def mistral_at(base, stream):
    from mistralai.client import Mistral

    client = Mistral(api_key=os.environ["MISTRAL_API_KEY"], server_url=base)
    if not stream:
        answer = client.chat.complete(model="mistral-small-latest", messages=messages)
        return answer.choices[0].message.content
    parts = client.chat.stream(model="mistral-small-latest", messages=messages)
    return "".join(p.data.choices[0].delta.content or "" for p in parts if p.data.choices)


def azure(stream):
    from openai import AzureOpenAI

    client = AzureOpenAI(api_version="2025-03-01-preview")
    answer = client.chat.completions.create(model="gpt-4o-deployment", messages=messages)
    return answer.choices[0].message.content


vendor, _, mode = sys.argv[1].partition("-")
vendors = {"ollama": ollama, "groq": groq, "cohere": cohere, "azure": azure}
vendors |= {"mistral": mistral, "mistralhost": mistralhost}
print("FINAL", vendors[vendor](mode == "stream"))
