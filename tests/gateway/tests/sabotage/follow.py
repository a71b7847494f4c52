"""`logs_fetch` with `follow`, and `logs_cancel`: lines as they come, until the container ends, the
gateway cancels, or the session ends.
"""

import asyncio
import collections
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
# Bytes of lines that wait for a gateway that does not read.
_WAITING_LIMIT = 256 * 1024


class Follows:
    """The follows of one session, by the bytes of their ids."""

    def __init__(self) -> None:
        self._follows: dict[str, _Follow] = {}

    @property
    def count(self) -> int:
        return len(self._follows)

    def start(self, call: Call, wanted: logs.Wanted) -> None:
        if self.count >= LIMIT and not broken("A-FOL-4"):
            raise rpc.RpcError(rpc.BUSY, f"busy: {LIMIT} follows are under way; cancel one of them")
        name = _name(call.id)
        follow = self._follows[name] = _Follow(call, wanted)

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
            follow.cancelled = True
            follow.task.cancel()
        return rpc.write({"cancelled": follow is not None or broken("A-FOL-7")})

    def end(self) -> None:
        for follow in list(self._follows.values()):
            follow.task.cancel()


def _name(id_: str) -> str:
    """Strings are the same id where they say the same, numbers where they have the same bytes."""
    return f"string {rpc.read(id_)}" if id_.startswith('"') else id_


class _Follow:
    def __init__(self, call: Call, wanted: logs.Wanted) -> None:
        self._call, self._wanted = call, wanted
        # By the gateway. Otherwise the session has ended.
        self.cancelled = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        queue = _Queue(self._call)
        try:
            async with asyncio.timeout(scaled(45) if broken("A-FOL-2") else None):
                await queue.fill(self._wanted)
        except asyncio.CancelledError:
            if not self.cancelled:
                raise
        except TimeoutError:
            pass
        except docker.Failure as failure:
            await queue.flush()
            self._call.fail(failure.error())
            return
        # What the gateway has cancelled it does not want to read.
        if not self.cancelled:
            await queue.flush()
        ended = "cancelled" if self.cancelled else "container"
        result: dict[str, Any] = {"lines": [], "streamed": queue.sent, "ended": ended}
        if broken("A-FOL-3"):
            del result["ended"]
        self._call.answer(rpc.write(result))


class _Queue:
    """The lines that docker has printed and the gateway has not got yet."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._sequence = logs.Sequence(call)
        self._lines: collections.deque[loglines.Line] = collections.deque()
        self._bytes = 0
        self._dropped = 0
        self._new: list[list[loglines.Line]] = [[], []]
        self._some = asyncio.Event()
        self.sent = 0

    async def fill(self, wanted: logs.Wanted) -> None:
        """Reads and sends until docker ends."""
        lanes = [loglines.Lane(False), loglines.Lane(True)]
        async with docker.started(self._call.settings, wanted.arguments()) as process:
            sending = asyncio.create_task(self._send_all())
            try:
                await asyncio.gather(
                    self._read(lanes[0], process.stdout, 0), self._read(lanes[1], process.stderr, 1)
                )
                if status := await process.wait():
                    raise docker.failure(lanes[1].complaint or lanes[0].complaint, status)
            finally:
                sending.cancel()

    async def flush(self) -> None:
        """Sends what is left, as the gateway reads it."""
        self._gather()
        while self._lines:
            await self._send()

    async def _read(self, lane: loglines.Lane, pipe: asyncio.StreamReader, number: int) -> None:
        while data := await pipe.read(65536):
            self._add(lane.feed(data), number)
            # So that the other pipe, and the rest of the agent, have their turn.
            await asyncio.sleep(0)
        self._add(lane.finish(), number)

    def _add(self, lines: list[loglines.Line], number: int) -> None:
        if lines:
            self._new[number] += lines
            self._some.set()
            if sum(map(len, self._new)) > 1000:
                self._gather()

    def _gather(self) -> None:
        """Puts what has come from both pipes in order, and leaves out the oldest lines of too many."""
        new = loglines.merged(*self._new)
        self._new = [[], []]
        self._lines.extend(new)
        self._bytes += sum(_size(line) for line in new)
        while self._bytes > _WAITING_LIMIT and len(self._lines) > 1:
            self._bytes -= _size(self._lines.popleft())
            self._dropped += 1

    async def _send_all(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(2 if broken("A-FOL-1") else _GATHER)
            self._some.clear()
            self._gather()
            while self._lines:
                await self._send()
                self._gather()

    async def _send(self) -> None:
        """Sends a chunk, and waits until it has left."""
        before = len(self._lines)
        dropped = 0 if broken("A-FOL-5") else self._dropped
        self._dropped = 0
        left = self._sequence.send(self._lines, dropped, _CHUNK)
        self.sent += before - len(self._lines)
        self._bytes = sum(map(_size, self._lines))
        await asyncio.shield(left)


def _size(line: loglines.Line) -> int:
    return len(line.text) + 80
