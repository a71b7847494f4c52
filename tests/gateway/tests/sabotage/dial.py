"""One dial: from the URL to a WebSocket, or why there is none."""

import asyncio
import base64
import dataclasses
import email.utils
import hashlib
import ipaddress
import os
import socket
import time
import urllib.parse

import http1
from breaks import broken
from clock import scaled
from settings import Settings

PATIENCE = 20
_SEND_BUFFER = 192 * 1024
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Failed(Exception):
    """No session. `status` is that of a gateway that did not answer 101."""

    def __init__(self, words: str, status: int | None = None, retry_after: float = 0) -> None:
        super().__init__(words)
        self.status, self.retry_after = status, retry_after


@dataclasses.dataclass
class Dialed:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    # The address of the session's socket on this machine.
    ip: str


async def dial(settings: Settings) -> Dialed:
    patience = scaled(200 if broken("A-CONN-7") else PATIENCE)
    try:
        async with asyncio.timeout(patience):
            return await _dial(settings, settings.host, settings.port, settings.target)
    except TimeoutError:
        raise Failed("no WebSocket within 20 s") from None
    except http1.Odd as odd:
        raise Failed(str(odd)) from None


async def _dial(settings: Settings, host: str, port: int, target: str) -> Dialed:
    check = not broken("A-CONN-8")
    tls = http1.trust(settings.ca_file, check) if settings.tls else None
    reader, writer = await http1.connect(host, port, tls)
    # So that a pong never waits long behind lines: unlimited, the kernel holds some megabytes.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        head = await http1.ask(reader, writer, _request(settings, host, port, target, key))
        if broken("A-RETRY-7") and head.status in (301, 302, 307, 308):
            writer.transport.abort()
            return await _follow(settings, head.headers.get("location", ""))
        _check(head, key)
    except BaseException:
        writer.transport.abort()
        raise
    address = ipaddress.ip_address(writer.get_extra_info("sockname")[0].split("%")[0])
    return Dialed(reader, writer, str(getattr(address, "ipv4_mapped", None) or address))


def _request(settings: Settings, host: str, port: int, target: str, key: str) -> list[str]:
    version = "0.0.1" if broken("A-REG-3") else settings.version
    system = f"(linux; {settings.arch})"
    if broken("A-CONN-1"):
        target = target.split("?")[0] + "?another=query"
    if broken("A-CONN-4"):
        system = f"linux {settings.arch}"
    scheme = "Token" if broken("A-CONN-2") else "Bearer"
    shown = f"[{host}]" if ":" in host else host
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {shown}:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        f"Authorization: {scheme} {settings.token}",
        f"User-Agent: vmkit-agent/{version} {system}",
    ]
    if broken("A-CONN-3"):
        lines.append(f"Cookie: token={settings.token}")
    if broken("A-CONN-5"):
        lines.append("Sec-WebSocket-Extensions: permessage-deflate")
    return lines


def _check(head: http1.Head, key: str) -> None:
    headers = head.headers
    if head.status != 101:
        busy = head.status in (429, 503) and not broken("A-RETRY-4")
        wait = _retry_after(headers.get("retry-after", "")) if busy else 0
        raise Failed(f"the gateway answered {head.status}", head.status, wait)
    accept = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
    if headers.get("upgrade", "").lower() != "websocket":
        raise Failed("the 101 is not for a WebSocket")
    if headers.get("sec-websocket-accept") != accept:
        raise Failed("the 101 has another Sec-WebSocket-Accept")
    extras = {"sec-websocket-extensions", "sec-websocket-protocol"} & headers.keys()
    if extras and not broken("A-CONN-6"):
        raise Failed(f"the 101 has {extras.pop()}, which was not offered")


def _retry_after(text: str) -> float:
    """Seconds of Retry-After, which may be a date; 0 where it is neither."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0


async def _follow(settings: Settings, location: str) -> Dialed:
    url = urllib.parse.urlsplit(location)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host, port = url.hostname or settings.host, url.port or settings.port
    return await _dial(settings, host, port, target)
