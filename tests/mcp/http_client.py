"""Says to an MCP server over HTTP what stands in a file, a message a line, and prints what came of each: the status, how the
answer ended, and its text, or how long it is."""

import http.client
import os
import sys
import urllib.parse

# Longer than any answer takes, shorter than one that never comes.
PATIENCE_S = 1.5

url = urllib.parse.urlsplit(os.environ["LOOPTAPE_URL"])
path = f"/t/{os.environ['LOOPTAPE_TRACE']}/mcp-habits/mcp"
session = None
for line in open(sys.argv[1]):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=PATIENCE_S)
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if session:
        headers["mcp-session-id"] = session
    status, body, how = None, b"", "ended"
    try:
        connection.request("POST", path, line.strip().encode(), headers)
        answer = connection.getresponse()
        status, session = answer.status, answer.getheader("mcp-session-id") or session
        while piece := answer.read1(1 << 16):
            body += piece
        if answer.length:
            how = "broken"
    except TimeoutError:
        how = "timeout"
    except (OSError, http.client.HTTPException):
        how = "broken"
    connection.close()
    text = body.decode() if len(body) < 2000 else f"{len(body)} bytes"
    if how == "broken":
        # What came before a reset may be lost on the way.
        text = ""
    print(status, how, text.strip().replace("\n", "|"), flush=True)
