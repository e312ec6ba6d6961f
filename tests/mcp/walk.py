"""The official Python client of MCP walks through the tools, against a URL or a command.

    walk.py auto|legacy URL [TOKEN]
    walk.py auto|legacy COMMAND ARGUMENT…

Prints one JSON object about what it saw; tests/node/walk.mjs does the same with the TypeScript client.
"""

import asyncio
import base64
import json
import sys

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


def transport(words):
    if not words[0].startswith("http"):
        return StdioServerParameters(command=words[0], args=words[1:])
    headers = {"Authorization": f"Bearer {words[1]}"} if words[1:] else {}
    return streamable_http_client(words[0], http_client=httpx2.AsyncClient(headers=headers, timeout=60))


async def walk(mode, words):
    seen = {}
    async with Client(transport(words), mode=mode) as client:
        seen["revision"] = client.protocol_version
        seen["tools"] = [tool.name for tool in (await client.list_tools()).tools]

        async def call(tool, arguments, **more):
            return await client.call_tool(tool, arguments, **more)

        listed = await call("target_list", {})
        seen["targets"] = [target["name"] for target in listed.structured_content["targets"]]
        connected = await call("connect", {"target": "card"})
        seen["state"] = connected.structured_content.get("state", connected.structured_content)
        session = connected.structured_content.get("session")
        shot = await call("screenshot", {"session": session})
        picture = next(content for content in shot.content if content.type == "image")
        seen["picture"] = [picture.mime_type, base64.b64decode(picture.data)[:8].hex()]
        clicked = await call("click", {"session": session, "x": 200, "y": 200})
        seen["clicked"] = not clicked.is_error
        wrong = await call("click", {"session": session, "x": 200, "y": 200, "buttom": "left"})
        seen["wrong"] = [wrong.is_error, wrong.structured_content["code"]]
        beyond = await call("click", {"session": session, "x": 99999, "y": 0})
        seen["beyond"] = [beyond.is_error, beyond.structured_content["code"]]
        try:
            await call("clack", {})
        except MCPError as error:
            seen["unknown"] = error.error.code
        told = []

        async def tell(progress, _total, _message):
            told.append(progress)

        wait = {"session": session, "condition": "still", "quiet_ms": 3000, "timeout_ms": 3500}
        await call("wait_for", wait, progress_callback=tell)
        seen["progress"] = bool(told) and told == sorted(told)
        ended = await call("disconnect", {"session": session})
        seen["disconnected"] = not ended.is_error
    return seen


print(json.dumps(asyncio.run(walk(sys.argv[1], sys.argv[2:]))))
