"""WebSocket frames: bytes in, messages out, and the other way round. Does no input or output.

No library: its checks would stand in the way of the breaks.
"""

import dataclasses
import os
import struct

from breaks import broken

MESSAGE_LIMIT = 1024 * 1024
FRAGMENT = 64 * 1024

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_CONTROL_LIMIT = 125


class Violation(Exception):
    """The gateway has broken a rule of frames; `code` is for the close frame."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


@dataclasses.dataclass
class Received:
    """A whole message or a control frame; or a fragment, whose kind is CONTINUATION."""

    kind: int
    payload: bytes = b""


class Decoder:
    """Takes the gateway's bytes."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._message: bytearray | None = None
        self._limit = 256 * 1024 if broken("A-FRAME-5") else MESSAGE_LIMIT

    def feed(self, data: bytes) -> None:
        self._bytes += data

    def next(self) -> Received | None:
        """The next frame, if it is there whole."""
        data = self._bytes
        if len(data) < 2:
            return None
        final, kind = bool(data[0] & 0x80), data[0] & 0x0F
        length, start = data[1] & 0x7F, 2
        self._check_head(data[0], data[1], kind, final)
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(data) < start:
                return None
            length = int.from_bytes(data[2:start], "big")
        self._check_length(kind, length)
        if len(data) < start + length:
            return None
        payload = bytes(data[start : start + length])
        del data[: start + length]
        return Received(kind, payload) if kind >= CLOSE else self._join(final, payload)

    def _check_head(self, first: int, second: int, kind: int, final: bool) -> None:
        if first & 0x70:
            raise Violation(1002, "a frame with a reserved bit")
        if second & 0x80:
            raise Violation(1002, "a masked frame")
        if kind not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise Violation(1002, "a frame of an unknown kind")
        if kind >= CLOSE and (not final or second & 0x7F > _CONTROL_LIMIT):
            raise Violation(1002, "a control frame that is too long or in fragments")
        if (kind == CONTINUATION) != (self._message is not None) and kind < CLOSE:
            raise Violation(1002, "a fragment out of place")
        if kind == BINARY:
            raise Violation(1003, "a binary frame")

    def _check_length(self, kind: int, length: int) -> None:
        before = len(self._message or b"") if kind < CLOSE else 0
        if before + length > self._limit:
            raise Violation(1009, "a message over 1 MiB")

    def _join(self, final: bool, payload: bytes) -> Received:
        message = self._message if self._message is not None else bytearray()
        message += payload
        self._message = None if final else message
        return Received(TEXT, bytes(message)) if final else Received(CONTINUATION)


def frame(kind: int, payload: bytes, final: bool = True) -> bytes:
    """A client's frame: masked, its length in the shortest form."""
    length = len(payload)
    if length < 126 and not (kind == TEXT and broken("A-FRAME-6")):
        head = struct.pack("!BB", kind | final << 7, 0x80 | length)
    elif length < 65536:
        head = struct.pack("!BBH", kind | final << 7, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", kind | final << 7, 0x80 | 127, length)
    key = os.urandom(4)
    return head + key + _masked(payload, key)


def message_frames(payload: bytes):
    """The frames of a text message, one after the other."""
    size = len(payload) if broken("A-FRAME-4") else FRAGMENT
    for start in range(0, len(payload), size):
        kind = TEXT if start == 0 else CONTINUATION
        yield frame(kind, payload[start : start + size], start + size >= len(payload))


def close_frame(code: int | None, reason: str = "") -> bytes:
    # A reason has at most 123 bytes; ours are ASCII.
    payload = b"" if code is None else struct.pack("!H", code) + reason.encode()[:123]
    return frame(CLOSE, payload)


def read_close(payload: bytes) -> tuple[int | None, str]:
    """Code and reason of the gateway's close frame."""
    if not payload:
        return None, ""
    if len(payload) == 1:
        raise Violation(1002, "a close frame with half a code")
    try:
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(1007, "a close frame whose reason is not UTF-8") from None


def may_be_sent(code: int) -> bool:
    """Whether a close frame may have this code."""
    return code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999


def _masked(payload: bytes, key: bytes) -> bytes:
    length = len(payload)
    mask = (key * (length // 4 + 1))[:length]
    both = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return both.to_bytes(length, "big")
