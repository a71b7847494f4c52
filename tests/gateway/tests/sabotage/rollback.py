"""The way back from a version that the gateway does not accept: the guard, which is a process of its
own and outlives the agent, and the agent's own part at its start.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Any

import breaks
import clock
import trial
from settings import Settings

_POLL = 0.05


def start_guard(settings: Settings) -> None:
    """Starts the process that puts the previous version back when the probation is over."""
    agent = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agent.py")
    subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            agent,
            *options(),
            "--installed",
            settings.installed,
            "rollback",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def options() -> list[str]:
    """The options that every version is started with."""
    rule = breaks.chosen()
    return ["--clock-scale", str(clock.scaled(1)), *(["--break", rule] if rule else [])]


def guard(installed: str) -> None:
    store = trial.Store(os.environ.get("STATE_DIRECTORY", ""))
    watched = store.read()["trial"]
    while watched is not None:
        time.sleep(_POLL)
        now = store.read()["trial"]
        if now is None or now["checksum"] != watched["checksum"]:
            return
        if time.monotonic() >= now["until"]:
            break
    with store.change() as state:
        now = state["trial"]
        if now is None or now["checksum"] != watched["checksum"]:
            return
        os.replace(installed + ".prev", installed)
        trial.give_up(state, *_cause(now))
    if command := os.environ.get("VMKIT_RESTART_CMD"):
        subprocess.run(["/bin/sh", "-c", command], check=False)
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(now["pid"], signal.SIGTERM)
    os.execv(installed, [installed, *options()])


def _cause(now: dict[str, Any]) -> tuple[str, str]:
    if now["starts"] == 0:
        return "never_started", "it never started, or ended before it recorded its start"
    if now["refused"]:
        return "refused", "the gateway refused its register"
    return "unacknowledged", "its register was not accepted in time"


def settle(settings: Settings, store: trial.Store) -> dict[str, Any] | None:
    """Counts the start of a version on trial, and returns its trial. Puts the previous version back,
    and executes it, where this version has started too often.
    """
    if store.read()["trial"] is None:
        return None
    with store.change() as state:
        now = state["trial"]
        if now is None or now["version"] != settings.version:
            return None
        if now["starts"] < trial.STARTS:
            now["starts"] += 1
            now["pid"] = os.getpid()
            return now
        os.replace(settings.installed + ".prev", settings.installed)
        trial.give_up(state, "crashed", f"it started and ended {trial.STARTS} times")
    os.execv(settings.installed, [settings.installed, *options()])
