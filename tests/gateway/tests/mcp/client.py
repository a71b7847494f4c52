"""The official client of MCP, led line by line: each line of standard input is a JSON object, and gets one
on standard output.

    client.py URL KEY MODE [CA]

MODE is `auto`, for the newest revision of MCP, or `legacy`, for those with `initialize`.
"""

import asyncio
import json
import ssl
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def answer(client, ask):
    if ask.get("tools"):
        listed = await client.list_tools()
        return {"tools": [tool.model_dump(mode="json", by_alias=True) for tool in listed.tools]}
    result = await client.call_tool(ask["call"], ask["arguments"])
    texts = [block.text for block in result.content]
    return {"error": result.is_error, "structured": result.structured_content, "texts": texts}


async def main(url, key, mode, ca=None):
    verify = ssl.create_default_context(cafile=ca) if ca else True
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, verify=verify, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            print(json.dumps({"server": client.server_info.name,
                              "protocol": client.protocol_version,
                              "instructions": client.instructions}), flush=True)
            for line in sys.stdin:
                try:
                    said = await answer(client, json.loads(line))
                except Exception as error:
                    said = {"raised": f"{type(error).__name__}: {error}"}
                print(json.dumps(said), flush=True)


def first(error):
    """What an exception group is about."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


try:
    asyncio.run(main(*sys.argv[1:]))
except BaseException as error:
    print(json.dumps({"raised": f"{type(first(error)).__name__}: {first(error)}"}), flush=True)
