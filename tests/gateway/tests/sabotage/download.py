"""The download of an upgrade, over HTTP with redirects."""

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import urllib.parse
from collections.abc import Callable

import http1
from breaks import broken
from settings import is_loopback

LIMIT = 256 * 1024 * 1024
REDIRECTS = 5
URL_LIMIT = 8192


class Failed(Exception):
    """No file. `told` is what the gateway may hear of it."""

    def __init__(self, words: str, told: str) -> None:
        super().__init__(words)
        self.told = told


class Url:
    """`https:`, or `http:` to a loopback address. Raises ValueError for any other."""

    def __init__(self, text: str) -> None:
        if len(text) > URL_LIMIT or not text.isascii() or " " in text:
            raise ValueError("not a URL of at most 8 KiB")
        self.text = text
        self.parts = urllib.parse.urlsplit(text)
        self.host = self.parts.hostname or ""
        self.tls = self.parts.scheme == "https"
        self.port = self.parts.port or (443 if self.tls else 80)
        if not self.host or self.parts.port == 0:
            raise ValueError("it has no host, or no port that is a number from 1 to 65535")
        if not self.tls and (self.parts.scheme != "http" or not is_loopback(self.host)):
            raise ValueError("it must start with https: (http: to a loopback address only)")

    @property
    def shown(self) -> str:
        """Without user part and query, which may be secrets."""
        if broken("A-ERR-3"):
            return self.text
        host = self.parts.netloc.rsplit("@", 1)[-1]
        return f"{self.parts.scheme}://{host}{self.parts.path[:200]}"

    @property
    def signature(self) -> "Url":
        return Url(self.parts._replace(path=self.parts.path + ".minisig").geturl())

    def redirected(self, location: str) -> "Url":
        target = Url(urllib.parse.urljoin(self.text, location))
        if self.tls and not target.tls:
            raise ValueError("a redirect from https: leads to http:")
        return target

    def request(self) -> list[str]:
        host = self.parts.netloc.rsplit("@", 1)[-1]
        query = f"?{self.parts.query}" if self.parts.query else ""
        lines = [f"GET {self.parts.path or '/'}{query} HTTP/1.1", f"Host: {host}"]
        lines += ["Accept: */*", "User-Agent: vmkit-agent", "Connection: close"]
        if self.parts.username is not None:
            user = f"{self.parts.username}:{self.parts.password or ''}"
            lines.append(f"Authorization: Basic {base64.b64encode(user.encode()).decode()}")
        return lines


class Download:
    """One file. `bytes` and `total` tell how far it is."""

    def __init__(self, url: Url, ca_file: str | None, limit: int = LIMIT) -> None:
        self._url, self._ca_file, self._limit = url, ca_file, limit
        self._inside = False
        self.bytes = 0
        self.total: int | None = None

    async def fetch(self, write: Callable[[bytes], object]) -> str:
        """Hands the file to `write`. Returns its SHA-256."""
        try:
            return await self._fetch(write)
        except (http1.Odd, ValueError, OSError, EOFError) as error:
            words = f"the download from {self._url.shown} failed: {error}"
            # The reason would let the gateway look around in a network that only this VM sees.
            sealed = f"the download from {self._url.shown} failed; the agent's log has the reason"
            raise Failed(words, sealed if self._inside else words) from None

    async def _fetch(self, write: Callable[[bytes], object]) -> str:
        url = self._url
        for _ in range(REDIRECTS + 1):
            reader, writer, head = await self._get(url)
            with contextlib.closing(writer.transport):
                if head.status in (301, 302, 303, 307, 308):
                    url = url.redirected(head.headers.get("location", ""))
                    continue
                if head.status != 200:
                    raise ValueError(f"HTTP {head.status}")
                return await self._body(reader, head, write)
        raise ValueError("more than five redirects")

    async def _get(self, url: Url) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, http1.Head]:
        self._inside |= is_loopback(url.host)
        tls = http1.trust(self._ca_file) if url.tls else None
        reader, writer = await http1.connect(url.host, url.port, tls)
        address = ipaddress.ip_address(writer.get_extra_info("peername")[0].split("%")[0])
        self._inside |= not address.is_global
        try:
            return reader, writer, await http1.ask(reader, writer, url.request())
        except BaseException:
            writer.transport.abort()
            raise

    async def _body(
        self, reader: asyncio.StreamReader, head: http1.Head, write: Callable[[bytes], object]
    ) -> str:
        digest = hashlib.sha256()
        chunked = head.headers.get("transfer-encoding", "").lower() == "chunked"
        length = None if chunked else head.headers.get("content-length")
        self.total = int(length) if length is not None else None
        pieces = _chunks(reader) if chunked else _pieces(reader, self.total)
        async for data in pieces:
            self.bytes += len(data)
            if self.bytes > self._limit:
                raise ValueError("it is too large")
            digest.update(data)
            write(data)
        return digest.hexdigest()


async def _pieces(reader: asyncio.StreamReader, total: int | None):
    left = total
    while left is None or left > 0:
        data = await reader.read(65536 if left is None else min(65536, left))
        if not data:
            if left is None:
                return
            raise EOFError(f"the connection ended with {left} bytes missing")
        left = None if left is None else left - len(data)
        yield data


async def _chunks(reader: asyncio.StreamReader):
    while size := int((await reader.readline()).split(b";")[0], 16):
        async for data in _pieces(reader, size):
            yield data
        await reader.readline()
