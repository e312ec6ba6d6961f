"""A reverse proxy that ends TLS and chooses by path: what stands before hbbs and hbbr for `wss://` clients.

    tls_front.py CERTIFICATE KEY PATH=HOST:PORT [PATH=HOST:PORT ...]

Prints the port that it listens on at localhost.
"""

import asyncio
import ssl
import sys


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main(certificate, key, *routes):
    table = dict(route.split("=", 1) for route in routes)

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        target = table.get(head.split(b" ")[1].decode())
        if target is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        host, port = target.rsplit(":", 1)
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        inner_writer.write(head)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "localhost", 0, ssl=context, family=2)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
