"""The two local tools of the other programs, offered by an MCP server that the official SDK makes. Argument: `stdio`, or
`http` to print an address and serve there."""

import socket
import sys

import uvicorn
from mcp.server import MCPServer

import tools

server = MCPServer("weather")
server.tool()(tools.get_weather)
server.tool()(tools.convert_currency)

if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    app = server.streamable_http_app(json_response=sys.argv[1] == "http-json")
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
