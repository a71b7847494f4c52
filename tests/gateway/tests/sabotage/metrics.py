"""`metrics_collect`: a snapshot of this machine, for all that ask while it is taken."""

import asyncio
import dataclasses
import datetime
import json
import os
from typing import Any

import docker
import frames
import rpc
from breaks import broken
from call import Call
from clock import scaled
from session import Session
from settings import Settings

SAMPLE = 1
PATIENCE = 14
# So many containers that do not run are inspected.
_OTHERS = 500
_JSON_LIMIT = frames.MESSAGE_LIMIT - 32 * 1024
_TOO_LARGE = "it would not fit a message of 1 MiB; too many containers"
_LIST = ["ps", "--all", "--no-trunc", "--format", "table {{.ID}} {{.Status}}"]
_INSPECT = (
    "[{{json .ID}},{{json .Name}},{{json .Config.Image}},{{json .State.Status}},"
    '{{if .State.Health}}{{json .State.Health.Status}}{{else}}""{{end}},'
    "{{.State.ExitCode}},{{.RestartCount}},{{.State.OOMKilled}},{{json .State.StartedAt}}]"
)


class Snapshots:
    """The snapshots of a session, at most one at a time."""

    def __init__(self, settings: Settings, session: Session) -> None:
        self._settings, self._session = settings, session
        self._current: asyncio.Task | None = None
        self._calls: list[Call] = []

    async def serve(self, call: Call) -> None:
        """Returns when the snapshot is sent, to this call and to all the others."""
        if broken("A-MET-6"):
            self._send(await take(self._settings), [call])
            return
        self._calls.append(call)
        if self._current is None:
            self._current = asyncio.create_task(self._take())
        await asyncio.shield(self._current)

    def end(self) -> None:
        if self._current is not None:
            self._current.cancel()

    async def _take(self) -> None:
        snapshot = await take(self._settings)
        calls, self._calls, self._current = self._calls, [], None
        self._send(snapshot, calls)

    def _send(self, snapshot: str, calls: list[Call]) -> None:
        notification = rpc.notification("health_snapshot", snapshot)
        if broken("A-MET-7"):
            self._session.send(notification)
        for call in calls:
            if call.id is None and broken("A-MET-8"):
                self._session.send(rpc.result("null", snapshot))
            call.answer(snapshot)
        if not broken("A-MET-7"):
            self._session.send(notification)


@dataclasses.dataclass
class _Found:
    """What docker has said; `all` is None where it could not be asked, and `why` says why."""

    known: bool = False
    running: set[str] = dataclasses.field(default_factory=set)
    all: list[dict[str, Any]] | None = None
    why: str = ""
    lack: str = ""


async def take(settings: Settings) -> str:
    """A snapshot, in JSON."""
    before = _processors()
    found = _Found()
    asked = asyncio.create_task(_containers(settings, found))
    try:
        await asyncio.sleep(scaled(SAMPLE))
        after = _processors()
        # Whatever docker does.
        patience = scaled(PATIENCE - SAMPLE)
        async with asyncio.timeout(None if broken("A-MET-5") else patience):
            await asked
    except TimeoutError:
        found.why = f"docker: no answer within {PATIENCE} s: the daemon hangs"
    except docker.Failure as failure:
        found.why = str(failure)
    finally:
        asked.cancel()
    return _fitted(_snapshot(before, after, found))


def _snapshot(before: list[int], after: list[int], found: _Found) -> dict[str, Any]:
    errors: dict[str, str] = {}
    if not found.known:
        errors["container_count"] = found.why
    if found.all is None:
        errors["container_health"] = errors["containers"] = found.why
    if found.lack:
        errors["containers.stopped"] = found.lack
    all_ = found.all
    running = [one for one in all_ or [] if one["id"] in found.running]
    health = {one["name"]: one["health"] for one in running}
    passed = [new - old for old, new in zip(before, after, strict=True)]
    busy = 100 * (1 - (passed[3] + passed[4]) / sum(passed)) if sum(passed) > 0 else 0.0
    memory = _meminfo()
    snapshot: dict[str, Any] = {
        "cpu_pct": _percent(busy),
        "mem_pct": _percent(100 - 100 * memory["MemAvailable"] / memory["MemTotal"]),
        "disk_pct": _percent(_disk("/")[0]),
        "container_count": len(found.running) if found.known else None,
        "container_health": None if all_ is None else health,
        "containers": all_,
        "host": _host(memory),
        "collected_at": _now(),
    }
    if errors and not broken("A-MET-2"):
        snapshot["errors"] = errors
    if broken("A-MET-1"):
        del snapshot["mem_pct"]
    if broken("A-MET-10"):
        del snapshot["host"]
    return snapshot


def _fitted(snapshot: dict[str, Any]) -> str:
    """Leaves out the containers, and then their health, where a message would not hold them."""
    text = rpc.write(snapshot)
    for part in ("containers", "container_health"):
        if len(text.encode()) <= _JSON_LIMIT:
            break
        parts = ("containers", "container_health") if broken("A-MET-11") else (part,)
        for name in parts:
            snapshot[name] = None
            snapshot.setdefault("errors", {})[name] = _TOO_LARGE
        text = rpc.write(snapshot)
    return text


async def _containers(settings: Settings, found: _Found) -> None:
    lines = (await docker.ask(settings, _LIST)).splitlines()
    if not lines or not lines[0].startswith("CONTAINER ID"):
        words = f"{settings.docker} ps: printed no table of containers: it is no docker"
        raise docker.Failure(0, words)
    pairs = [line.split(" ", 1) for line in lines[1:] if " " in line]
    runs = [status.lstrip().startswith(("Up", "Restarting")) for _, status in pairs]
    running = [id_ for (id_, _), run in zip(pairs, runs, strict=True) if run]
    others = [id_ for (id_, _), run in zip(pairs, runs, strict=True) if not run]
    found.running, found.known = set(running), True
    if len(others) > _OTHERS:
        found.lack = f"only {_OTHERS} of those that do not run are listed; see docker ps -a"
    rows: list[str] = []
    if ids := running + others[:_OTHERS]:
        arguments = ["inspect", "--type", "container", "--format", _INSPECT, *ids]
        rows = (await docker.ask(settings, arguments)).splitlines()
    found.all = [_container(json.loads(row)) for row in rows if row.strip()]


def _container(row: list[Any]) -> dict[str, Any]:
    id_, name, image, state, health, exit_code, restarts, oom_killed, started_at = row
    runs = state in ("running", "paused") or (state == "created" and exit_code == 0)
    container = {
        "name": name.removeprefix("/"),
        "id": id_,
        "image": image,
        "state": state,
        "health": health if health in ("healthy", "unhealthy", "starting") else "none",
        "exit_code": None if runs else exit_code,
        "restarts": restarts,
        "oom_killed": oom_killed,
        # Docker's word for never is the year 1.
        "started_at": None if started_at.startswith("0001-") else started_at,
    }
    if broken("A-MET-9"):
        del container["oom_killed"]
    return container


def _percent(value: float) -> float:
    tenths = round(min(max(value, 0.0), 100.0), 1)
    return round(min(tenths, 99.0) + 0.05, 2) if broken("A-MET-3") else tenths


def _now() -> str:
    now = datetime.datetime.now(datetime.UTC)
    if broken("A-MET-4"):
        east = datetime.timezone(datetime.timedelta(hours=1))
        return now.astimezone(east).isoformat(timespec="milliseconds")
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _processors() -> list[int]:
    with open("/proc/stat", encoding="ascii") as file:
        return [int(word) for word in file.readline().split()[1:9]]


def _meminfo() -> dict[str, int]:
    with open("/proc/meminfo", encoding="ascii") as file:
        return {line.split(":")[0]: int(line.split()[1]) for line in file}


def _disk(path: str) -> tuple[float, float | None]:
    """Used space and used inodes of a file system, in percent."""
    it = os.statvfs(path)
    used = it.f_blocks - it.f_bfree
    inodes = 100 * (1 - it.f_ffree / it.f_files) if it.f_files else None
    return 100 * used / max(it.f_blocks, 1), inodes


def _host(memory: dict[str, int]) -> dict[str, Any]:
    with open("/proc/uptime", encoding="ascii") as file:
        uptime = int(float(file.read().split()[0]))
    used, inodes = _disk("/")
    total = memory["SwapTotal"]
    return {
        "uptime_s": uptime,
        "load": [round(load, 2) for load in os.getloadavg()],
        "swap_pct": _percent(100 - 100 * memory["SwapFree"] / total) if total else None,
        "disks": {
            "/": {
                "used_pct": _percent(used),
                "inodes_pct": None if inodes is None else _percent(inodes),
            }
        },
    }
