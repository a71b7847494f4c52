"""`logs_fetch` with `follow`, and `logs_cancel`: lines as they come, until the container ends, the
gateway cancels, or the session ends.
"""

import asyncio
import collections
from collections.abc import Callable
from typing import Any

import docker
import loglines
import logs
import rpc
from breaks import broken
from call import Call
from clock import scaled

LIMIT = 8
# Lines of both pipes that come within this time are put in order.
_GATHER = 0.05
_CHUNK = 64 * 1024
# Bytes of lines that wait. With more, docker waits; or the oldest are left out.
_WAITING_LIMIT = 256 * 1024
_BYTES_A_SECOND = 3_000_000
# How long docker may pause within a long line.
_PIECE_PATIENCE = 0.15


class Follows:
    """The follows of one session, by the bytes of their ids."""

    def __init__(self) -> None:
        self._follows: dict[str, _Follow] = {}
        self._pace = _Pace()

    @property
    def count(self) -> int:
        return len(self._follows)

    def start(self, call: Call, wanted: logs.Wanted) -> None:
        if self.count >= LIMIT and not broken("A-FOL-4"):
            raise rpc.RpcError(rpc.BUSY, f"busy: {LIMIT} follows are under way; cancel one of them")
        name = _name(call.id or "null")
        follow = self._follows[name] = _Follow(call, wanted, self._pace)

        def forget(_: asyncio.Task) -> None:
            if self._follows.get(name) is follow:
                del self._follows[name]

        follow.task.add_done_callback(forget)

    def cancel(self, call: Call, params: dict[str, Any]) -> str:
        """Ends a follow. Its own result comes after the answer of this request."""
        text = rpc.member(call.request.params or "{}", "id")
        if text is None or text[0] not in '"-0123456789':
            if not broken("A-FOL-8"):
                raise rpc.wrong("id is neither a string nor a number")
            text = ""
        follow = self._follows.pop(_name(text), None)
        if follow is not None:
            follow.cancel()
        return rpc.write({"cancelled": follow is not None or broken("A-FOL-7")})

    def end(self) -> None:
        for follow in list(self._follows.values()):
            follow.task.cancel()


def _name(id_: str) -> str:
    """Strings are the same id where they say the same, numbers where they have the same bytes."""
    return f"string {rpc.read(id_)}" if id_.startswith('"') else id_


class _Follow:
    def __init__(self, call: Call, wanted: logs.Wanted, pace: "_Pace") -> None:
        self._call = call
        self._queue = _Queue(call, pace)
        # By the gateway. Otherwise the session has ended.
        self._cancelled = False
        # A task of its own: one that is cancelled before its first step does nothing, and a follow has to
        # be answered.
        self._filling = asyncio.create_task(self._fill(wanted))
        self.task = asyncio.create_task(self._run())

    def cancel(self) -> None:
        """The gateway wants no more lines."""
        self._cancelled = True
        if not broken("A-FOL-9"):
            self._queue.stop()
        self._filling.cancel()

    async def _fill(self, wanted: logs.Wanted) -> None:
        async with asyncio.timeout(scaled(45) if broken("A-FOL-2") else None):
            await self._queue.fill(wanted)

    async def _run(self) -> None:
        queue = self._queue
        try:
            await self._filling
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
        except TimeoutError:
            pass
        except docker.Failure as failure:
            if not broken("A-FOL-14"):
                await queue.flush()
                self._call.fail(failure.error())
                return
        # What the gateway has cancelled it does not want to read.
        if not self._cancelled or broken("A-FOL-9"):
            await queue.flush()
        ended = "cancelled" if self._cancelled else "container"
        result: dict[str, Any] = {"lines": [], "streamed": queue.sent, "ended": ended}
        if queue.cut:
            result["truncated"] = True
        if broken("A-FOL-3"):
            del result["ended"]
        self._call.answer(rpc.write(result))


class _Pace:
    """What all follows of a session may send: so many bytes a second."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._next = 0.0

    async def send(self, send: Callable[[], int]) -> None:
        """Calls `send` when a chunk may go; it returns the chunk's length."""
        async with self._turn:
            if not broken("A-FOL-13"):
                await asyncio.sleep(self._next - _now())
            self._next = _now() + send() / _BYTES_A_SECOND


class _Queue:
    """The lines that docker has printed and the gateway has not got yet."""

    def __init__(self, call: Call, pace: _Pace) -> None:
        self._call, self._pace = call, pace
        self._sequence = logs.Sequence(call)
        self._lines: collections.deque[loglines.Line] = collections.deque()
        self._dropped = 0
        self._new: list[list[loglines.Line]] = [[], []]
        # Of the lines that are in `_lines` and `_new`.
        self._bytes = 0
        self._some = asyncio.Event()
        # Ends when the last chunk has left.
        self._left: asyncio.Future | None = None
        # Since when the socket has had no room for a chunk.
        self._stuck: float | None = None
        self._sending: asyncio.Task | None = None
        self.sent = 0
        self.cut = False

    async def fill(self, wanted: logs.Wanted) -> None:
        """Reads and sends until docker ends."""
        lanes = [loglines.Lane(False), loglines.Lane(True)]
        async with docker.started(self._call.settings, wanted.arguments()) as process:
            self._sending = asyncio.create_task(self._send_all())
            try:
                await asyncio.gather(
                    self._read(lanes[0], process.stdout, 0), self._read(lanes[1], process.stderr, 1)
                )
                if status := await process.wait():
                    raise docker.failure(lanes[1].complaint or lanes[0].complaint, status)
            finally:
                self._sending.cancel()

    def stop(self) -> None:
        """From now on nothing is sent."""
        if self._sending is not None:
            self._sending.cancel()

    async def flush(self) -> None:
        """Sends what is left, as the gateway reads it."""
        self._gather()
        while self._lines:
            await self._send()

    async def _read(self, lane: loglines.Lane, pipe: asyncio.StreamReader, number: int) -> None:
        while True:
            is_patient = not lane.is_in_pieces or broken("A-FOL-15")
            try:
                async with asyncio.timeout(None if is_patient else _PIECE_PATIENCE):
                    data = await pipe.read(65536)
            except TimeoutError:
                self._add(lane.finish(), number)
                continue
            self._add(lane.feed(data) if data else lane.finish(), number)
            if not data:
                return
            # So that the other pipe, and the rest of the agent, have their turn.
            await asyncio.sleep(0)
            while self._bytes > _WAITING_LIMIT and not self._is_lost():
                await asyncio.sleep(0.01)

    def _add(self, lines: list[loglines.Line], number: int) -> None:
        if lines:
            self._new[number] += lines
            self._bytes += sum(map(_size, lines))
            self._some.set()
            if self._is_lost():
                self._gather()

    def _is_lost(self) -> bool:
        """Whether the gateway has not kept pace for so long that lines may be left out."""
        # Not much shorter with short clocks: a busy machine would be lost.
        patience = 0.02 if broken("A-FOL-12") else max(scaled(2), 0.8)
        return self._stuck is not None and _now() > self._stuck + patience

    def _gather(self) -> None:
        """Puts what has come from both pipes in order, and leaves out the oldest lines of too many."""
        self._lines.extend(loglines.merged(*self._new))
        self._new = [[], []]
        while self._bytes > _WAITING_LIMIT and len(self._lines) > 1 and self._is_lost():
            self._bytes -= _size(self._lines.popleft())
            self._dropped += 1

    async def _send_all(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(1 if broken("A-FOL-1") else _GATHER)
            self._some.clear()
            self._gather()
            while self._lines:
                await self._send()
                self._gather()

    async def _send(self) -> None:
        """Sends a chunk, and waits until it has left."""
        await self._pace.send(self._send_now)
        self._stuck = _now()
        await asyncio.shield(self._left)
        self._stuck = None

    def _send_now(self) -> int:
        before = list(self._lines)
        dropped = 0 if broken("A-FOL-5") else self._dropped
        self._dropped = 0
        limit = 2 * _CHUNK if broken("A-FOL-11") else _CHUNK
        self._left = self._sequence.send(self._lines, dropped, limit)
        gone = before[: len(before) - len(self._lines)]
        self._bytes -= sum(map(_size, gone))
        self.sent += len(gone)
        self.cut |= any(line.cut for line in gone)
        return self._sequence.length


def _size(line: loglines.Line) -> int:
    return len(line.text) + 80


def _now() -> float:
    return asyncio.get_running_loop().time()
