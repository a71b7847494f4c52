"""The scale of all long times, so that a test needs not wait for them."""

_scale = 1.0


def set_scale(scale: float) -> None:
    global _scale
    _scale = scale


def scaled(seconds: float) -> float:
    """So many seconds of the protocol, in seconds of this process."""
    return seconds * _scale
