"""A small MCP server over stdio, with every bad habit that a server can have. Its first argument is a file that it
leaves behind when it was started; the second one, if it is there, another description of its tool."""

import json
import os
import sys
import time

open(sys.argv[1], "a").write("started\n")
DESCRIPTION = sys.argv[2] if len(sys.argv) > 2 else "Does as it is told"


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def result(request, value):
    say({"jsonrpc": "2.0", "id": request["id"], "result": value})


def call(request):
    arguments = request["params"]["arguments"]
    habit = arguments.get("habit")
    if habit == "crash":
        os._exit(7)
    if habit == "hang":
        return
    if habit == "garbage":
        sys.stdout.write("Warning: this is no message\n" + "x" * (3 << 20) + "\n{\"broken\n")
    if habit == "progress":
        token = request["params"]["_meta"]["progressToken"]
        for done in (1, 2):
            say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": done}})
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "nearly"}})
    if habit == "error":
        say({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "no such thing"}})
        return
    # No two results are the same, so that one from a recording is known as such.
    result(request, {"content": [{"type": "text", "text": f"{habit} {time.monotonic_ns()}"}]})


for line in sys.stdin:
    request = json.loads(line)
    method = request.get("method")
    if "id" not in request:
        continue
    if method == "initialize":
        result(request, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "habits", "version": "1"}})
    elif method == "tools/list":
        result(request, {"tools": [{"name": "do", "description": DESCRIPTION, "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        call(request)
