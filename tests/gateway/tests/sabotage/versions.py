"""The order of versions by age: semantic versions, and any other text that is a version."""

import re

VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}")


def is_lower(one: str, other: str) -> bool:
    return _key(one) < _key(other)


def _key(version: str) -> tuple:
    release, _, early = version.split("+")[0].partition("-")
    parts = [_part(part) for part in release.split(".")]
    # A missing part counts as 0.
    while parts and parts[-1] == _part("0"):
        parts.pop()
    # A pre-release comes before its release.
    return parts, not early, [_part(part) for part in early.split(".")] if early else []


def _part(text: str) -> tuple:
    """Numbers by value and before words, words by their letters."""
    return (0, int(text), "") if text.isascii() and text.isdigit() else (1, 0, text)
