"""Plays a model's client with the official SDK: starts the command given, calls each tool, and prints what came as JSON."""

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

CALLS = [
    ("get_random_bytes", {"count": 16, "encoding": "base64"}),
    ("get_random_hex", {"count": 32}),
    ("get_random_base64", {}),
    ("get_random_integers", {"count": 20, "min": -5, "max": 5}),
    ("uuid", {"count": 2}),
    ("dice", {"count": 2, "sides": 20}),
    ("shuffle", {"items": ["a", 2, None, {"b": [3]}]}),
    ("choice", {"items": ["x", "y", "z"], "count": 2}),
    ("get_random_hex", {"count": 1000000}),
    ("get_random_hex", {"count": "many"}),
]


async def call(session, name, arguments):
    try:
        result = (await session.call_tool(name, arguments)).model_dump(mode="json", by_alias=True)
    except Exception as error:  # an error of the protocol is an outcome, too
        return {"protocol-error": str(error)}
    return {
        "error": bool(result.get("isError")),
        "text": "".join(part.get("text", "") for part in result["content"]),
        "structured": result.get("structuredContent"),
    }


async def main():
    command, *arguments = sys.argv[1:]
    import os

    parameters = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        server = (await session.initialize()).model_dump(mode="json", by_alias=True)
        tools = [tool.name for tool in (await session.list_tools()).tools]
        results = [await call(session, name, arguments) for name, arguments in CALLS]
    print(json.dumps({"server": server, "tools": tools, "results": results}))


asyncio.run(main())
