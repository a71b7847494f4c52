"""Minisign's signatures: Ed25519 over the BLAKE2b hash of a file, and over the trusted comment.

Written out, because Python's standard library has no Ed25519. Slow, and only ever checks.
"""

import base64
import hashlib

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
# A point in extended coordinates: X, Y, Z, T.
_Point = tuple[int, int, int, int]


class Bad(Exception):
    """The signature is not the right one."""


def trusted_comment(signature: str, content: bytes, key: str) -> str:
    """Checks a minisign signature file over `content`. Returns its trusted comment."""
    public = base64.b64decode(key)
    lines = signature.splitlines()
    if len(public) != 42 or len(lines) < 4 or not lines[2].startswith("trusted comment: "):
        raise Bad("is not a minisign signature")
    try:
        first, second = base64.b64decode(lines[1]), base64.b64decode(lines[3])
    except ValueError:
        raise Bad("is not a minisign signature") from None
    comment = lines[2].removeprefix("trusted comment: ")
    if first[:2] != b"ED" or len(first) != 74 or len(second) != 64:
        raise Bad("is of minisign's legacy kind, or none")
    if first[2:10] != public[2:10]:
        raise Bad("was made with another key")
    digest = hashlib.blake2b(content).digest()
    if not _verify(public[10:], digest, first[10:]):
        raise Bad("is not over this file")
    if not _verify(public[10:], first[10:] + comment.encode(), second):
        raise Bad("has a trusted comment that was not signed")
    return comment


def _verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032, section 5.1.7."""
    point, other = _decompressed(public), _decompressed(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if point is None or other is None or scalar >= _ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    factor = int.from_bytes(digest, "little") % _ORDER
    left = _times(scalar, _BASE)
    right = _sum(other, _times(factor, point))
    return (left[0] * right[2] - right[0] * left[2]) % _P == 0 and (
        left[1] * right[2] - right[1] * left[2]
    ) % _P == 0


def _sum(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(factor: int, point: _Point) -> _Point:
    product = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            product = _sum(product, point)
        point = _sum(point, point)
        factor >>= 1
    return product


def _decompressed(data: bytes) -> _Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _decompressed((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))
