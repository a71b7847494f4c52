"""The lines of docker's two pipes: bytes in, lines out, and both merged by their time stamps."""

import calendar
import dataclasses
import heapq
import re
from typing import Any

import rpc
from breaks import broken

TEXT_LIMIT = 64 * 1024
# Docker breaks lines into pieces of so many bytes, and repeats the time stamp before each.
PIECE = 16 * 1024
_STAMP = re.compile(rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_REPLACEMENT = "\ufffd".encode()
Moment = tuple[int, int]


@dataclasses.dataclass
class Line:
    moment: Moment
    ts: str
    text: str
    stderr: bool
    cut: bool

    def json(self) -> str:
        value: dict[str, Any] = {"ts": self.ts, "text": self.text}
        if self.stderr and not broken("A-LOG-4"):
            value["from"] = "stderr"
        return rpc.write(value)


class Lane:
    """Reads one of the two pipes."""

    def __init__(self, stderr: bool) -> None:
        self._stderr = stderr
        self._rest = b""
        self._last: tuple[Moment, str] | None = None
        # Docker's own words: lines without a stamp. After a line with one they are handed on too.
        self.complaint = ""

    @property
    def is_in_pieces(self) -> bool:
        """Whether a line of several pieces has begun, and not ended."""
        return len(self._rest) > PIECE

    def feed(self, data: bytes) -> list[Line]:
        *whole, self._rest = (self._rest + data).split(b"\n")
        return self._lines(whole)

    def finish(self) -> list[Line]:
        rest, self._rest = self._rest, b""
        return self._lines([rest] if rest else [])

    def _lines(self, whole: list[bytes]) -> list[Line]:
        return [line for raw in whole if (line := self._line(raw)) is not None]

    def _line(self, raw: bytes) -> Line | None:
        stamp = _STAMP.match(raw)
        if stamp is not None and raw[stamp.end() : stamp.end() + 1] == b" ":
            self._last = _moment(stamp), stamp.group(0).decode()
            raw = raw[stamp.end() + 1 :]
            if not broken("A-LOG-6"):
                raw = _joined(stamp.group(0) + b" ", raw)
        else:
            self.complaint += raw.decode("utf-8", "replace") + "\n"
        if self._last is None:
            return None
        if not broken("A-LOG-5"):
            raw = raw.rstrip(b"\r")
        text, cut = _decoded(raw)
        return Line(*self._last, text, self._stderr, cut)


def merged(stdout: list[Line], stderr: list[Line]) -> list[Line]:
    """By time; standard output first where it is the same."""
    if broken("A-LOG-3"):
        return stdout + stderr
    return list(heapq.merge(stdout, stderr, key=lambda line: line.moment))


def moment_of(text: str) -> Moment | None:
    """The time that a text of RFC 3339 says."""
    stamp = _STAMP.fullmatch(text.encode("utf-8", "replace"))
    if stamp is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in stamp.groups()[:6])
    if not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 60:
        return None
    if not 1 <= day <= calendar.monthrange(max(year, 1), month)[1]:
        return None
    return _moment(stamp)


def _moment(stamp: re.Match[bytes]) -> Moment:
    *parts, fraction, zone = stamp.groups()
    seconds = calendar.timegm(tuple(int(part) for part in parts))
    if zone != b"Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds -= offset if zone.startswith(b"+") else -offset
    return seconds, int((fraction or b"0").ljust(9, b"0"))


def _joined(stamp: bytes, text: bytes) -> bytes:
    """Takes out the stamps that docker has put before each piece but the first."""
    start = 0
    while len(text) - start > PIECE:
        # Of a byte that is not UTF-8 docker makes three.
        bad = text[start : start + 3 * PIECE].count(_REPLACEMENT)
        inner = text.find(stamp, start + PIECE, start + PIECE + 2 * bad + len(stamp))
        if inner < 0:
            break
        text = text[:inner] + text[inner + len(stamp) :]
        start = inner
    return text


def _decoded(text: bytes) -> tuple[str, bool]:
    """The text, U+FFFD for what is not UTF-8; and whether it had to be cut between two characters."""
    whole = text.decode("utf-8", "replace")
    data = whole.encode()
    if len(data) <= TEXT_LIMIT:
        return whole, False
    return data[:TEXT_LIMIT].decode("utf-8", "ignore").rstrip("\r"), True
