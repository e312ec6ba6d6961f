// The official TypeScript client of MCP walks through the tools, against a URL or a command.
//
//   walk.mjs auto|legacy URL [TOKEN]
//   walk.mjs auto|legacy COMMAND ARGUMENT…
//
// Prints one JSON object about what it saw; tests/mcp/walk.py does the same with the Python client.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

function transport([first, ...rest]) {
  if (!first.startsWith("http")) {
    return new StdioClientTransport({ command: first, args: rest, env: process.env });
  }
  const headers = rest.length ? { Authorization: `Bearer ${rest[0]}` } : {};
  return new StreamableHTTPClientTransport(new URL(first), { requestInit: { headers } });
}

const [mode, ...words] = process.argv.slice(2);
const client = new Client({ name: "walk", version: "1" }, { versionNegotiation: { mode } });
await client.connect(transport(words));
const call = (name, args, options) => client.callTool({ name, arguments: args }, options);

const seen = { revision: client.getNegotiatedProtocolVersion() };
seen.tools = (await client.listTools()).tools.map((tool) => tool.name);
const listed = await call("target_list", {});
seen.targets = listed.structuredContent.targets.map((target) => target.name);
const connected = (await call("connect", { target: "card" })).structuredContent;
seen.state = connected.state ?? connected;
const session = connected.session;
const shot = await call("screenshot", { session });
const picture = shot.content.find((content) => content.type === "image");
seen.picture = [picture.mimeType, Buffer.from(picture.data, "base64").subarray(0, 8).toString("hex")];
seen.clicked = !(await call("click", { session, x: 200, y: 200 })).isError;
const wrong = await call("click", { session, x: 200, y: 200, buttom: "left" });
seen.wrong = [wrong.isError, wrong.structuredContent.code];
const beyond = await call("click", { session, x: 99999, y: 0 });
seen.beyond = [beyond.isError, beyond.structuredContent.code];
try {
  await call("clack", {});
} catch (error) {
  seen.unknown = error.code;
}
const told = [];
const wait = { session, condition: "still", quiet_ms: 3000, timeout_ms: 3500 };
await call("wait_for", wait, { onprogress: ({ progress }) => told.push(progress) });
seen.progress = told.length > 0 && told.every((progress, n) => n === 0 || progress >= told[n - 1]);
seen.disconnected = !(await call("disconnect", { session })).isError;
await client.close();
console.log(JSON.stringify(seen));
