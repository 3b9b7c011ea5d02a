"""google-genai SDK. Argument: `whole` or `stream`, `automatic` (the SDK runs the tools itself)."""

import sys

from google import genai
from google.genai import types

import tools

MODEL = "gemini-2.5-flash"
DECLARATIONS = [
    types.FunctionDeclaration(name=n, description=d, parameters_json_schema=s) for n, d, s in tools.SCHEMAS
]
CONFIG = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=DECLARATIONS)],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


def whole(client, contents):
    answer = client.models.generate_content(model=MODEL, contents=contents, config=CONFIG)
    return answer.candidates[0].content.parts


def streamed(client, contents):
    parts = []
    for chunk in client.models.generate_content_stream(model=MODEL, contents=contents, config=CONFIG):
        parts += chunk.candidates[0].content.parts or []
    return parts


def loop(client, ask):
    contents = [types.Content(role="user", parts=[types.Part(text=tools.PROMPT)])]
    while True:
        parts = ask(client, contents)
        calls = [p.function_call for p in parts if p.function_call]
        if not calls:
            return "".join(p.text or "" for p in parts)
        results = [
            types.Part.from_function_response(name=c.name, response={"result": tools.run(c.name, c.args)})
            for c in calls
        ]
        contents.append(types.Content(role="model", parts=parts))
        contents.append(types.Content(role="user", parts=results))


def automatic(client):
    config = types.GenerateContentConfig(tools=[tools.get_weather, tools.convert_currency])
    return client.models.generate_content(model=MODEL, contents=tools.PROMPT, config=config).text


client = genai.Client()
if sys.argv[1] == "automatic":
    print("FINAL", automatic(client))
else:
    print("FINAL", loop(client, {"whole": whole, "stream": streamed}[sys.argv[1]]))
