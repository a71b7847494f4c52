"""`register`: who this agent is, and whether the gateway has accepted it."""

import json
import os
import platform
from typing import Any

import rpc
from breaks import broken
from settings import Settings

PATIENCE = 10
ID = 1
CAPABILITIES = ["logs_follow", "logs_since", "containers", "host"]
# Of this agent there is no commit to tell.
_BUILD = "0" * 12


class Refused(Exception):
    """The gateway has not accepted this agent; `retry_after` in seconds of the protocol."""

    def __init__(self, words: str, answered: bool, retry_after: float = 0) -> None:
        super().__init__(words)
        self.answered, self.retry_after = answered, retry_after


def message(settings: Settings, ip: str, number: int, upgrade: dict[str, Any]) -> str:
    """The register of the session with this number, from 1."""
    params: dict[str, Any] = {
        "version": settings.version,
        "instance_id": settings.instance_id,
        "ip": "192.0.2.1" if broken("A-REG-5") else ip,
        "os": "linux",
        "arch": settings.arch,
        "protocol": 1,
        "capabilities": CAPABILITIES,
        "build": _BUILD,
        "boot_id": _first_line("/proc/sys/kernel/random/boot_id"),
        "labels": settings.labels,
        "host": _host(),
        "upgrade": upgrade,
    }
    if broken("A-REG-4") and number > 1:
        params["instance_id"] += f"-{number}"
    absent = {
        "A-REG-2": ["os"],
        "A-REG-8": ["protocol"],
        "A-REG-9": ["upgrade"],
        "A-REG-10": ["build", "boot_id", "labels", "host"],
    }
    for rule, names in absent.items():
        if broken(rule):
            for name in names:
                del params[name]
    return rpc.request(ID, "register", rpc.write(params))


def check_answer(response: rpc.Response) -> None:
    """Raises `Refused` unless the gateway has accepted this agent."""
    if response.error is not None:
        error = rpc.read(response.error)
        data = error.get("data") if isinstance(error, dict) else None
        asked = data.get("retry_after") if isinstance(data, dict) else None
        is_number = isinstance(asked, (int, float)) and not isinstance(asked, bool)
        wait = float(asked) if is_number and asked >= 0 and not broken("A-RETRY-5") else 0.0
        raise Refused(f"register answered {response.error[:300]}", True, wait)
    answer = rpc.read(response.result or "null")
    accepted = isinstance(answer, dict) and answer.get("ok") is True
    if not accepted and not broken("A-REG-6"):
        raise Refused(f"register answered {(response.result or '')[:300]}", True)


def _host() -> dict[str, Any]:
    facts: dict[str, Any] = {"kernel": platform.release(), "cpus": os.cpu_count() or 1}
    if name := _os_release():
        facts["distribution"] = name
    facts["mem_total"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts["init"] = "systemd" if os.path.isdir("/run/systemd/system") else "none"
    return facts


def _os_release() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            pairs = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
    except OSError:
        return ""
    text = pairs.get("PRETTY_NAME", "")
    return json.loads(text) if text.startswith('"') else text


def _first_line(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.readline().strip()
