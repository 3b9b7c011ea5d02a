"""A small MCP server over HTTP, with every bad habit that a server can have. It prints its address; its argument is a file
that gets a line for each call of its tool."""

import http.server
import json
import sys
import time


def message(request, **more):
    return json.dumps({"jsonrpc": "2.0", "id": request.get("id"), **more})


def result(request, value):
    return message(request, result=value)


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/json", promised=None):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("mcp-session-id", "s1")
        self.send_header("content-length", str(len(body) if promised is None else promised))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, events):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for event in events:
            self.wfile.write(f"event: message\ndata: {event}\n\n".encode())
            self.wfile.flush()

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method = request["method"]
        if method == "tools/call":
            open(sys.argv[1], "a").write("called\n")
        if "id" not in request:
            self.answer(202)
        elif method == "initialize":
            value = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "h", "version": "1"}}
            self.answer(200, result(request, value).encode())
        elif method == "tools/list":
            tool = {"name": "do", "description": "Does as it is told", "inputSchema": {"type": "object"}}
            self.answer(200, result(request, {"tools": [tool]}).encode())
        else:
            self.call(request, request["params"]["arguments"]["habit"])

    def do_GET(self):
        self.answer(405)

    def call(self, request, habit):
        # No two results are the same, so that one from a recording is known as such.
        value = {"content": [{"type": "text", "text": f"{habit} {time.monotonic_ns()}"}]}
        token = request["params"].get("_meta", {}).get("progressToken")
        progress = {"progressToken": token, "progress": 1}
        progress = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})
        if habit == "crash":
            self.close_connection = True
        elif habit == "break":
            self.answer(200, result(request, value).encode()[:40], promised=4000)
            self.close_connection = True
        elif habit == "hang":
            # Until the client has enough of it.
            self.stream([progress])
            self.rfile.read()
        elif habit == "never":
            self.stream([progress])
        elif habit == "garbage":
            self.answer(200, b"<html>this is no message " + b"x" * (3 << 20), "text/html")
        elif habit == "error":
            self.answer(200, message(request, error={"code": -32602, "message": "no such thing"}).encode())
        elif habit == "progress":
            self.stream([progress, "this is no message", result(request, value)])
        else:
            self.answer(200, result(request, value).encode())


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
