"""`logs_fetch` without `follow`: the last lines of a container's log, in one result or in chunks."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import re
from typing import Any

import docker
import frames
import loglines
import rpc
from breaks import broken
from call import Call
from clock import scaled

PATIENCE = 30
CHUNK = 256 * 1024
# Text that is held back, to put the lines of both pipes in order.
WINDOW = 512 * 1024
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_KNOWN = {"container", "lines", "stream", "follow", "since"}


@dataclasses.dataclass
class Wanted:
    """The parameters, checked."""

    container: str
    lines: int
    stream: bool
    follow: bool
    since: str | None

    @staticmethod
    def of(params: dict[str, Any]) -> Wanted:
        rpc.reject_unknown(params, _KNOWN)
        container = params.get("container")
        if not isinstance(container, str):
            raise rpc.wrong("container is missing, or no string")
        if not _NAME.fullmatch(container):
            rule = "container: letters, digits, _, . and -, at most 128"
            raise (
                rpc.RpcError(rpc.NO_SUCH_CONTAINER, rule) if broken("A-LOG-1") else rpc.wrong(rule)
            )
        lines = params.get("lines", 100)
        if not isinstance(lines, int) or isinstance(lines, bool) or lines < 1:
            raise rpc.wrong("lines is not an integer from 1")
        since = params.get("since")
        if "since" in params and (not isinstance(since, str) or not loglines.moment_of(since)):
            raise rpc.wrong("since is not a time of RFC 3339")
        stream, follow = (_flag(params, name) for name in ("stream", "follow"))
        return Wanted(container, min(lines, 5000), stream, follow, since)

    def arguments(self) -> list[str]:
        """The real agent's, for docker."""
        count = self.lines
        if broken("A-LOG-2") and not self.stream and not self.follow:
            count = max(count - 1, 1)
        since = [] if self.since is None or broken("A-LOG-10") else [f"--since={self.since}"]
        follow = ["--follow"] if self.follow else []
        return ["logs", "--timestamps", "--tail", str(count), *since, *follow, self.container]


def _flag(params: dict[str, Any], name: str) -> bool:
    value = params.get(name, False)
    if not isinstance(value, bool):
        if broken("A-RPC-7"):
            return False
        raise rpc.wrong(f"{name} is not true or false")
    return value


async def fetch(call: Call, wanted: Wanted) -> str | None:
    """The result; none for a notification, whose log is read all the same."""
    # Nothing is sent for a notification, so it needs no chunks.
    stream = wanted.stream and call.id is not None
    try:
        async with asyncio.timeout(scaled(PATIENCE)):
            if stream:
                return await _stream(call, wanted)
            lines = await _read(call, wanted)
    except TimeoutError:
        words = f"docker logs {wanted.container}: not done within {PATIENCE} s; ask for fewer lines"
        raise rpc.RpcError(rpc.TOOK_TOO_LONG, words) from None
    if call.id is not None:
        return _plain(call, lines)
    if broken("A-LOG-11"):
        call.session.send(rpc.result("null", _plain(call, lines)))
    return None


async def _read(call: Call, wanted: Wanted) -> list[loglines.Line]:
    lanes = [loglines.Lane(False), loglines.Lane(True)]
    async with docker.started(call.settings, wanted.arguments()) as process:
        pipes = (process.stdout, process.stderr)
        kept = await asyncio.gather(*map(_lane, lanes, pipes))
        if status := await process.wait():
            raise docker.failure(lanes[1].complaint or lanes[0].complaint, status)
    return loglines.merged(*kept)


async def _lane(lane: loglines.Lane, pipe: asyncio.StreamReader) -> list[loglines.Line]:
    kept: collections.deque[loglines.Line] = collections.deque(maxlen=5000)
    while data := await pipe.read(65536):
        kept.extend(lane.feed(data))
    kept.extend(lane.finish())
    return list(kept)


def _plain(call: Call, lines: list[loglines.Line]) -> str:
    """The result, without the oldest lines where a message would not hold it."""
    room = frames.MESSAGE_LIMIT - len(rpc.result(call.id or "null", "").encode()) - 64
    truncated = any(line.cut for line in lines) and not broken("A-LOG-7")
    full = False
    kept: collections.deque[str] = collections.deque()
    for line in lines if broken("A-LOG-8") else reversed(lines):
        text = line.json()
        room -= len(text.encode()) + 1
        if full := room < 0:
            break
        kept.append(text) if broken("A-LOG-8") else kept.appendleft(text)
    tail = ',"truncated":true' if truncated or full else ""
    result = f'{{"lines":[{",".join(kept)}]{tail}'
    if full and broken("A-FRAME-3"):
        result = result.ljust(frames.MESSAGE_LIMIT + 1)
    return result + "}"


async def _stream(call: Call, wanted: Wanted) -> str:
    """Sends all lines in chunks, oldest first; the result counts them."""
    sequence = Sequence(call)
    count, cut = 0, False
    queue: collections.deque[loglines.Line] = collections.deque()
    async for lines in _merged(call, wanted):
        count += len(lines)
        cut |= any(line.cut for line in lines)
        queue.extend(lines)
        while queue:
            # Docker waits until the gateway has read.
            await sequence.send(queue)
    count += 1 if broken("A-LOG-14") else 0
    tail = ',"truncated":true' if cut else ""
    return f'{{"lines":[],"streamed":{count}{tail}}}'


async def _merged(call: Call, wanted: Wanted):
    """All lines of both pipes by time, in parts, as docker prints them."""
    lanes = [loglines.Lane(False), loglines.Lane(True)]
    held: list[list[loglines.Line]] = [[], []]
    arrived: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(maxsize=4)

    async def read(number: int, pipe: asyncio.StreamReader) -> None:
        while data := await pipe.read(65536):
            await arrived.put((number, data))
        await arrived.put((number, b""))

    async with docker.started(call.settings, wanted.arguments()) as process:
        pipes = (process.stdout, process.stderr)
        readers = [asyncio.create_task(read(*pair)) for pair in enumerate(pipes)]
        try:
            open_ = 2
            while open_:
                number, data = await arrived.get()
                open_ -= not data
                held[number] += lanes[number].feed(data) if data else lanes[number].finish()
                size = sum(len(line.text) for lane in held for line in lane)
                if size > WINDOW and (lines := loglines.merged(*held)):
                    half = len(lines) // 2 + 1
                    yield lines[:half]
                    held = [
                        [line for line in lines[half:] if line.stderr == it] for it in (False, True)
                    ]
            if status := await process.wait():
                raise docker.failure(lanes[1].complaint or lanes[0].complaint, status)
        finally:
            for reader in readers:
                reader.cancel()
    if lines := loglines.merged(*held):
        yield lines


class Sequence:
    """The chunks of a request, one after the other."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._next = 1 if broken("A-LOG-12") else 0
        # Of the last chunk, in bytes.
        self.length = 0

    def send(
        self, queue: collections.deque[loglines.Line], dropped: int = 0, limit: int = CHUNK
    ) -> asyncio.Future:
        """Sends as many of the oldest lines as a chunk holds, and takes them off the queue."""
        if broken("A-LOG-13") and limit == CHUNK:
            limit *= 2
        head = f'{{"id":{self._call.id or "null"},"seq":{self._next},"lines":['
        tail = "]" + (f',"dropped":{dropped}' if dropped else "") + "}"
        length = len(rpc.notification("logs_chunk", head + tail).encode()) + 1
        lines: list[str] = []
        while queue:
            text = queue[0].json()
            length += len(text.encode()) + 1
            if lines and length > limit:
                break
            lines.append(text)
            queue.popleft()
        self._next += 1
        chunk = rpc.notification("logs_chunk", head + ",".join(lines) + tail)
        self.length = len(chunk.encode())
        return self._call.session.send(chunk)
