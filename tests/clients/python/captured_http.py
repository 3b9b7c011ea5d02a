"""What a tool may ask of a host. Argument: `urllib`, `requests` or `httpx`. It prints what it was answered."""

import json
import sys

BASE = "https://api.weather.test/v1"


def urllib():
    import urllib.request

    with urllib.request.urlopen(f"{BASE}/oslo?units=c") as answer:
        yield json.load(answer)
    head = {"content-type": "application/json", "authorization": "Bearer test-token-that-nobody-checks"}
    request = urllib.request.Request(f"{BASE}/notes", data=b'{"note": "umbrella"}', headers=head)
    with urllib.request.urlopen(request) as answer:
        yield json.load(answer)


def requests():
    import requests

    session = requests.Session()
    yield session.get(f"{BASE}/oslo", params={"units": "c"}).json()
    yield session.post(f"{BASE}/notes", json={"note": "umbrella"}).json()


def httpx():
    import asyncio

    import httpx

    yield httpx.get(f"{BASE}/oslo", params={"units": "c"}).json()

    async def at_once():
        async with httpx.AsyncClient() as client:
            notes = [client.post(f"{BASE}/notes", json={"note": note}) for note in "abcdefgh"]
            return [answer.json() for answer in await asyncio.gather(*notes)]

    yield from asyncio.run(at_once())


clients = {"urllib": urllib, "requests": requests, "httpx": httpx}
for answer in clients[sys.argv[1]]():
    print(answer["path"], answer["body"])
