"""HTTP/1.1 as far as an agent needs it: a connection, and the head of an answer."""

import asyncio
import dataclasses
import ssl

HEAD_LIMIT = 16 * 1024


class Odd(Exception):
    """What the other side sent is not HTTP, or the connection failed."""


@dataclasses.dataclass
class Head:
    status: int
    headers: dict[str, str]


def trust(ca_file: str | None, check: bool = True) -> ssl.SSLContext:
    """Trusts the roots of `ca_file` alone: there are no bundled roots here, nor the system's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    if not check:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def connect(
    host: str, port: int, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_connection(host, port, ssl=tls, limit=HEAD_LIMIT)
    except OSError as error:
        raise Odd(f"can't connect to {host}:{port}: {error}") from None


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lines: list[str]) -> Head:
    """Sends a GET request, and reads the head of the answer."""
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = text.split("\r\n")
        version, status, *_ = first.split(" ", 2)
        if not version.startswith("HTTP/1."):
            raise Odd("the answer is not HTTP/1.1")
        pairs = (line.split(":", 1) for line in rest if ":" in line)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        return Head(int(status), headers)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Odd(f"no answer of HTTP: {error}") from None
