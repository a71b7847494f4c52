"""How long the agent waits before it dials again."""

import random

from breaks import broken
from clock import scaled

BASE, CAP = 1, 60
# A session that was registered for so long sets the limit back.
PROVEN = 60
# The longest time that a gateway can keep the agent away.
ASKED_CAP = 300
# After the gateway has said that another agent has the same instance id.
DOUBLED = 60


class Retry:
    def __init__(self) -> None:
        self._failures = 0
        self._whole = False

    def session_ended(self, registered_for: float) -> None:
        """A session has ended that was registered for so long, in seconds of this process."""
        if registered_for >= scaled(PROVEN):
            if broken("A-RETRY-3"):
                self._failures, self._whole = 10, True
            else:
                self._failures = 0

    def delay(self, asked: float) -> float:
        """`asked`: the gateway does not want to be dialed earlier, in seconds of the protocol."""
        limit = min(BASE * 2**self._failures, CAP)
        self._failures = min(self._failures + 1, 30)
        part = 1.0 if self._whole or broken("A-RETRY-2") else random.random()
        self._whole = False
        return scaled(limit * part + min(asked, ASKED_CAP))
