"""An agent whose context grows, on Python's standard library: for `looptape audit`.

    looptape record --agent research -- python3 examples/python-stdlib/research.py --brief
    looptape record --agent research -- python3 examples/python-stdlib/research.py
    looptape audit last

Without --brief it keeps all of every search result and page in its history, and pays for it with each request.
"""

import json
import os
import random
import sys
import time
import urllib.error
import urllib.request

BASE_URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1").rstrip("/")
API_KEY = os.environ.get("OPENAI_API_KEY", "")
QUESTION = "Does a heat pump pay in an old house where winters are cold?"
SYSTEM = "You research questions about houses. Look at several sources before you answer, and give figures."
BRIEF_CHARS = 1200
WORDS = (
    "house winter heat pump insulation outside temperature measured during the season and average of all days with "
    "electricity price per kWh between December March old window radiator flow return sensor owner says that noise "
    "compressor defrost cycle in hours below minus ten degrees was lower higher than expected because"
).split()


def prose(subject, chars):
    """The same words for the same subject every time."""
    source = random.Random(subject)
    text = ""
    while len(text) < chars:
        sentence = " ".join(source.choices(WORDS, k=source.randint(8, 16)))
        text += f"{sentence.capitalize()}: {source.randint(10, 9900) / 100}. "
    return text[:chars]


def search(query):
    hits = [{"title": f"{query} {n}", "excerpt": prose(query + str(n), 780)} for n in range(1, 49)]
    return json.dumps({"query": query, "hits": hits})


def open_page(title):
    return f"{title}\n\n{prose(title, 7000)}"


def definition(name, description, **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


STRING = {"type": "string"}
TOOLS = [
    definition("search", "Finds pages about a question.", query=STRING),
    definition("open_page", "Reads a page by its title.", title=STRING),
    definition("send_mail", "Sends a mail to somebody. Ask the user before you do.", to=STRING, text=STRING),
    definition("add_to_calendar", "Puts an appointment into the user's calendar.", day=STRING, what=STRING),
]
FUNCTIONS = {"search": search, "open_page": open_page}


def send(body):
    """Posts a request; a refusal is tried again after the time that the provider names."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {API_KEY}"}
    request = urllib.request.Request(f"{BASE_URL}/chat/completions", json.dumps(body).encode(), headers)
    for attempt in range(4):
        try:
            with urllib.request.urlopen(request) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 500, 502, 503) or attempt == 3:
                sys.exit(f"agent: the provider answered {error.code}: {error.read().decode()}")
            time.sleep(float(error.headers.get("retry-after", 1)))


def run_tool(call, brief):
    function = call["function"]
    result = FUNCTIONS[function["name"]](**json.loads(function["arguments"]))
    return {"role": "tool", "tool_call_id": call["id"], "content": result[:BRIEF_CHARS] if brief else result}


def main(brief):
    history = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    print("user:", QUESTION)
    while True:
        body = {"model": "gpt-4o", "messages": history, "tools": TOOLS}
        answer = send(body)["choices"][0]["message"]
        history.append(answer)
        print("assistant:", answer.get("content") or "", flush=True)
        calls = answer.get("tool_calls") or []
        if not calls:
            return
        for call in calls:
            history.append(run_tool(call, brief))
            print(f"tool: {call['function']['name']}({call['function']['arguments']})", flush=True)


main("--brief" in sys.argv[1:])
