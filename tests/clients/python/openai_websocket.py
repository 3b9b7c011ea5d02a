"""OpenAI SDK, Responses over WebSocket, which looptape does not speak: the upgrade is refused with 426, and the
program goes on over HTTP, as a client should."""

from openai import OpenAI
from websockets.exceptions import InvalidStatus

client = OpenAI()
try:
    with client.responses.connect() as connection:
        connection.response.create(model="gpt-4o-mini", input="Say hello to Oslo")
        raise SystemExit("a WebSocket was opened")
except InvalidStatus as refused:
    assert refused.response.status_code == 426, refused.response.status_code
answer = client.responses.create(model="gpt-4o-mini", input="Say hello to Oslo")
print("FINAL", answer.output_text)
