"""One live WebSocket: messages in and out, the heartbeat, the close.

Whoever ends the session calls `_over`; `run` then stops everything else. Control frames go before
the next fragment of a message.
"""

import asyncio
import collections
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable

import frames
from breaks import broken
from clock import scaled

# The connection has to be over 1.5 s after a close frame.
DRAIN = 1.4
PING_PERIOD = 30
PING_PATIENCE = 10
_WAITING_LIMIT = 64


@dataclasses.dataclass
class Ended:
    """Why a session is over; `code` is that of the gateway's close frame."""

    words: str
    code: int | None = None


class Session:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        # Then `drain` returns when the last byte is in the socket. With TLS, 0 would be no limit that
        # is ever kept.
        writer.transport.set_write_buffer_limits(high=1, low=0)
        self._decoder = frames.Decoder()
        self._controls: collections.deque[tuple[bytes, asyncio.Future | None]] = collections.deque()
        self._messages: collections.deque[tuple[bytes, asyncio.Future]] = collections.deque()
        self._fragments = None
        self._more, self._room = asyncio.Event(), asyncio.Event()
        self._heard = asyncio.Event()
        self._ping: asyncio.Future | None = None
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._closing: Ended | None = None
        self._ours = False
        self.take_message: Callable[[str], None] = lambda text: None

    @property
    def is_closing(self) -> bool:
        return self._closing is not None

    async def run(self) -> Ended:
        """Returns when the connection is over."""
        work = [self._read(), self._write(), self._beat()]
        tasks = [asyncio.create_task(one) for one in work]
        try:
            return await self._ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._writer.transport.abort()

    def send(self, text: str) -> asyncio.Future:
        """Queues a message. The future ends when its last byte has left, or with the session."""
        left = asyncio.get_running_loop().create_future()
        if self.is_closing or self._ended.done():
            left.cancel()
            return left
        # Each message ends in one newline; JSON has no other.
        newline = "" if broken("A-FRAME-2") else "\n"
        self._messages.append(((text + newline).encode("utf-8", "replace"), left))
        self._more.set()
        return left

    def close(self, code: int, why: str) -> None:
        """Sends a close frame. `run` ends when the gateway has answered, or soon after."""
        if not self.is_closing:
            self._ours = True
            self._enter_closing(frames.close_frame(code, why), Ended(why))

    def drop(self, why: str) -> None:
        self._over(Ended(why))

    def _enter_closing(self, close: bytes, ended: Ended) -> None:
        self._closing = ended
        for _, left in self._messages:
            left.cancel()
        # After a close frame no message leaves, not even the rest of one.
        self._messages.clear()
        self._fragments = None
        self._controls.clear()
        self._control(close)
        if broken("A-CLOSE-2"):
            goodbye = b'{"jsonrpc":"2.0","method":"goodbye"}\n'
            self._control(frames.frame(frames.TEXT, goodbye))
        drain = 4.0 if broken("A-CLOSE-3") else DRAIN
        asyncio.get_running_loop().call_later(drain, self._over, ended)

    def _over(self, ended: Ended) -> None:
        if not self._ended.done():
            self._ended.set_result(ended)

    # What arrives.

    async def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._reader.read(65536):
                if self._closing and not self._ours:
                    continue
                self._decoder.feed(data)
                self._take_frames()
                while len(self._messages) > _WAITING_LIMIT and not self._closing:
                    self._room.clear()
                    await self._room.wait()
        if not (self._closing and broken("A-CLOSE-3")):
            self._over(self._closing or Ended("the connection ended without a close frame"))

    def _take_frames(self) -> None:
        try:
            while (received := self._decoder.next()) is not None:
                self._heard.set()
                self._take(received)
        except frames.Violation as violation:
            rules = {1002: "A-CLOSE-5", 1003: "A-CLOSE-6", 1007: "A-CLOSE-7", 1009: "A-CLOSE-9"}
            code = 1011 if broken(rules[violation.code]) else violation.code
            if not self._closing:
                self.close(code, f"the gateway sent {violation}")
                # What follows can't be read any more.
                self._ours = False

    def _take(self, received: frames.Received) -> None:
        if received.kind == frames.CLOSE:
            self._take_close(received.payload)
        elif self._closing:
            return
        elif received.kind == frames.PING:
            self._answer_ping(received.payload)
        elif received.kind == frames.TEXT:
            try:
                text = received.payload.decode()
            except UnicodeDecodeError:
                raise frames.Violation(1007, "a text that is not UTF-8") from None
            self.take_message(text)

    def _take_close(self, payload: bytes) -> None:
        if self._closing:
            # The answer to our own.
            if not broken("A-CLOSE-3"):
                self._over(self._closing)
            return
        code, reason = frames.read_close(payload)
        answer = code if code is None or frames.may_be_sent(code) else 1002
        if broken("A-CLOSE-1"):
            answer = 1000 if code != 1000 else 1001
        words = f"the gateway closed the session ({code}: {reason})"
        self._enter_closing(frames.close_frame(answer), Ended(words, code))

    def _answer_ping(self, payload: bytes) -> None:
        if broken("A-BEAT-4"):
            payload = b"another payload"
        pong = frames.frame(frames.PONG, payload)
        if broken("A-BEAT-5"):
            asyncio.get_running_loop().call_later(0.7, self._control, pong)
        elif len(self._controls) < _WAITING_LIMIT:
            self._control(pong)

    # What leaves.

    def _control(self, data: bytes, left: asyncio.Future | None = None) -> None:
        self._controls.append((data, left))
        self._more.set()

    async def _write(self) -> None:
        try:
            while True:
                data, left = await self._next_frame()
                self._writer.write(data)
                await self._writer.drain()
                if left is self._ping:
                    # Only what arrives from now on answers it.
                    self._heard.clear()
                if left is not None and not left.done():
                    left.set_result(None)
                self._room.set()
        except OSError as error:
            self._over(self._closing or Ended(f"the connection failed: {error}"))

    async def _next_frame(self) -> tuple[bytes, asyncio.Future | None]:
        while True:
            if self._controls:
                return self._controls.popleft()
            if self._fragments is None and self._messages:
                payload, left = self._messages.popleft()
                self._fragments = (frames.message_frames(payload), left)
            if self._fragments is not None:
                fragments, left = self._fragments
                if data := next(fragments, None):
                    # FIN is the first bit: the last fragment carries the future.
                    return data, left if data[0] & 0x80 else None
                self._fragments = None
                continue
            self._more.clear()
            await self._more.wait()

    # The heartbeat.

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        period = scaled(2 * PING_PERIOD if broken("A-BEAT-1") else PING_PERIOD)
        patience = scaled(PING_PATIENCE)
        due = loop.time() + period
        while True:
            await asyncio.sleep(due - loop.time())
            due += period
            if self._closing:
                return
            left = self._ping = loop.create_future()
            self._control(frames.frame(frames.PING, b""), left)
            if not await _within(left, None if broken("A-BEAT-3") else patience):
                self.drop("the gateway does not read: a ping could not be sent")
                return
            if not await _within(self._heard.wait(), patience) and not broken("A-BEAT-2"):
                self.drop("the gateway did not answer a ping")
                return


async def _within(event: Awaitable[object], limit: float | None) -> bool:
    # Not `wait_for`, which may swallow the end of the session.
    try:
        async with asyncio.timeout(limit):
            await event
    except TimeoutError:
        return False
    return True
