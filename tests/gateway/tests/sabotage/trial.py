"""What upgrades have to remember, in a file: the trial under way, and the roll-backs since the last
confirmed upgrade. The agent and the guard of a trial change it, one at a time.
"""

import contextlib
import datetime
import fcntl
import json
import os
from collections.abc import Iterator
from typing import Any

# A binary that may have failed for an outage of the gateway is banned after so many roll-backs.
BAN_AFTER = 3
REMEMBERED = 8
# A binary that has started so often without being accepted is rolled back at its next start.
STARTS = 3


class Store:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, "upgrade.json")

    def read(self) -> dict[str, Any]:
        try:
            with open(self._path, encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {"trial": None, "rolled_back": []}

    @contextlib.contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """The state, which is written when the block ends."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        with open(os.path.join(self._folder, "lock"), "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.read()
            yield state
            with open(self._path + ".new", "w", encoding="utf-8") as file:
                json.dump(state, file)
            os.replace(self._path + ".new", self._path)


def give_up(state: dict[str, Any], cause: str, reason: str) -> None:
    """Notes that the trial is over and that its binary was rolled back."""
    trial, state["trial"] = state["trial"], None
    checksum = trial["checksum"]
    before = [one for one in state["rolled_back"] if one["checksum_sha256"] == checksum]
    times = before[0]["times"] + 1 if before else 1
    others = [one for one in state["rolled_back"] if one["checksum_sha256"] != checksum]
    rolled_back = {
        "version": trial["version"],
        "checksum_sha256": checksum,
        "reason": reason,
        "cause": cause,
        "banned": cause in ("crashed", "never_started") or times >= BAN_AFTER,
        "at": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "times": times,
        "reported": False,
    }
    state["rolled_back"] = (others + [rolled_back])[-REMEMBERED:]
