"""Notices that a tool asks a model by itself, through the HTTP client that its SDK uses.

Such a tool runs in a replay too: its model calls were recorded, and what it does besides is what they lead it to. One that
asks an MCP server over HTTP asks no model.
"""

import functools
import os

from . import tool_call

_ORIGIN = os.environ["LOOPTAPE_URL"].rstrip("/") + "/"
# Classes of HTTP clients, their method that sends, and where the URL is.
_SENDERS = {
    "httpx._client": (("Client", "send"), ("AsyncClient", "send")),
    "httpx2._client": (("Client", "send"), ("AsyncClient", "send")),
    "requests.sessions": (("Session", "send"),),
    "aiohttp.client": (("ClientSession", "_request"),),
}


def hook(module):
    for owner, method in _SENDERS[module.__name__]:
        cls = getattr(module, owner, None)
        send = getattr(cls, method, None)
        if send is not None:
            setattr(cls, method, _noticing(send))


def _noticing(send):
    @functools.wraps(send)
    def noticing(self, *args, **kwargs):
        calls = tool_call.within()
        if calls and any(_is_ours(arg) for arg in args[:2]):
            for call in calls:
                call.asks_models = True
        return send(self, *args, **kwargs)

    return noticing


def _is_ours(request):
    url = str(getattr(request, "url", request))
    return url.startswith(_ORIGIN) and "/mcp-" not in url[len(_ORIGIN) - 1 :]
