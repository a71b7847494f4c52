"""`agent_upgrade`, from the request to the restart, and what `register` tells of it.

There is no binary to replace: the file of `--installed` is what the service starts, and starts the
agent of its version. One upgrade at a time, which outlives its session.
"""

import asyncio
import contextlib
import os
import re
import shutil
import sys
import time
from typing import Any, BinaryIO

import download
import minisign
import rollback
import rpc
import trial
import versions
from breaks import broken
from call import Call, Line
from clock import scaled

PATIENCE = 600
PROGRESS = 5
VERSION_PATIENCE = 5
_CHECKSUM = re.compile(r"[0-9a-fA-F]{64}")


class Upgrades:
    def __init__(self, line: Line) -> None:
        self._line, self._settings = line, line.settings
        self._store = trial.Store(self._settings.state)
        self._trial = rollback.settle(self._settings, self._store)
        self._task: asyncio.Task | None = None
        self.restarting = False
        if self._trial is not None and broken("A-UPG-9"):
            self._settings.version = self._trial["from"]

    # What `register` tells, and what its answer means.

    def told(self) -> dict[str, Any]:
        probation = None
        if self._trial is not None:
            left = max(0, int(self._trial["until"] - time.monotonic()))
            probation = {"version": self._trial["version"], "seconds_left": left}
        rolled_back = self._store.read()["rolled_back"]
        return {"probation": probation, "rolled_back": [_report(one, "at") for one in rolled_back]}

    def accepted(self) -> None:
        """The gateway has accepted this version: its trial is over."""
        if self._trial is None:
            return
        with self._store.change() as state:
            if state["trial"] is not None:
                state["trial"], state["rolled_back"] = None, []
        self._trial = None

    def refused(self) -> None:
        if self._trial is None:
            return
        with self._store.change() as state:
            if state["trial"] is not None:
                state["trial"]["refused"] = True

    def unreported(self) -> list[dict[str, Any]]:
        """The roll-backs that the gateway has not heard of. From now on it has."""
        rolled_back = self._store.read()["rolled_back"]
        if broken("A-UPG-15"):
            return [_report(one) for one in rolled_back]
        unheard = [_report(one) for one in rolled_back if not one["reported"]]
        if unheard:
            with self._store.change() as state:
                for one in state["rolled_back"]:
                    one["reported"] = True
        return unheard

    # The request.

    @property
    def count(self) -> int:
        """How many are under way."""
        return int(self._task is not None)

    async def idle(self) -> None:
        while self._task is not None:
            await asyncio.sleep(0.05)

    def abandon(self) -> None:
        if self._task is not None and not self.restarting:
            self._task.cancel()

    def start(self, call: Call, params: dict[str, Any]) -> None:
        if not self._settings.upgrades:
            code = rpc.NOT_REPLACED if broken("A-UPG-12") else rpc.FORBIDDEN
            raise rpc.RpcError(code, "this machine's owner has turned upgrades off")
        if self._task is not None:
            code = rpc.INTERNAL_ERROR if broken("A-UPG-6") else rpc.BUSY
            raise rpc.RpcError(code, "busy: an upgrade is under way; ask again when it has ended")
        order = _Order(params)
        self._task = asyncio.create_task(self._serve(call, order))

        def forget(_: asyncio.Task) -> None:
            self._task = None

        self._task.add_done_callback(forget)

    async def _serve(self, call: Call, order: "_Order") -> None:
        try:
            async with asyncio.timeout(scaled(PATIENCE)):
                await self._install(call, order)
        except rpc.RpcError as error:
            self._failed(call, error)
        except TimeoutError:
            words = f"the upgrade was not done within {PATIENCE} s; nothing was changed"
            self._failed(call, rpc.RpcError(rpc.TOOK_TOO_LONG, words))
        else:
            await self._restart(call)

    def _failed(self, call: Call, error: rpc.RpcError) -> None:
        if broken("A-UPG-2"):
            with open(self._settings.installed, "ab") as file:
                file.write(b"\n")
        call.fail(error)

    async def _install(self, call: Call, order: "_Order") -> None:
        state, installed = self._store.read(), self._settings.installed
        if state["trial"] is not None:
            version = state["trial"]["version"]
            raise rpc.RpcError(rpc.BUSY, f"busy: version {version} is on trial; ask again later")
        banned = [one["checksum_sha256"] for one in state["rolled_back"] if one["banned"]]
        if order.checksum in banned and not broken("A-UPG-10"):
            raise rpc.RpcError(rpc.UNFIT, f"version {order.version} was rolled back before; banned")
        if installed is None:
            raise rpc.RpcError(rpc.NOT_REPLACED, "no file to replace is known; see --installed")
        staged = installed + ".new"
        try:
            await self._bring_in(call, order, staged)
            await _test(staged, order.version)
            self._exchange(order, staged)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(staged)

    async def _bring_in(self, call: Call, order: "_Order", path: str) -> None:
        """From the URL to a file with the right checksum and signature."""
        loading = download.Download(order.url, self._settings.ca_file)
        progress = asyncio.create_task(_tell_progress(call, loading))
        try:
            with _executable(path) as file:
                found = await loading.fetch(file.write)
        except download.Failed as failed:
            print(failed, file=sys.stderr)
            raise rpc.RpcError(rpc.DOWNLOAD_FAILED, failed.told) from None
        except OSError as error:
            raise rpc.RpcError(rpc.NOT_REPLACED, f"{path}: {error.strerror}") from None
        finally:
            progress.cancel()
        if found != order.checksum:
            code = rpc.DOWNLOAD_FAILED if broken("A-UPG-3") else rpc.CHECKSUM_MISMATCH
            wanted = order.checksum + (f" but {found}" if broken("A-UPG-11") else "")
            words = f"checksum mismatch: what is at {order.url.shown} does not have {wanted}"
            raise rpc.RpcError(code, f"{words}; nothing was changed, check the release")
        if self._settings.pubkey is not None:
            await self._check_signature(order, path)

    async def _check_signature(self, order: "_Order", path: str) -> None:
        """An owner with a public key wants a signature for this very release."""
        url, text = order.url.signature, bytearray()
        try:
            await download.Download(url, self._settings.ca_file, 4096).fetch(text.extend)
            content = _content(path)
            signature = text.decode("utf-8", "replace")
            comment = minisign.trusted_comment(signature, content, self._settings.pubkey)
        except download.Failed as failed:
            words = f"no signature: {failed.told}"
            raise rpc.RpcError(rpc.CHECKSUM_MISMATCH, words) from None
        except minisign.Bad as bad:
            words = f"bad signature: {url.shown} {bad}"
            raise rpc.RpcError(rpc.CHECKSUM_MISMATCH, words) from None
        needed = f"vmkit-agent {order.version} linux/{self._settings.arch}"
        plain, _, replaces = comment.partition(" replaces ")
        is_comment = plain == needed and comment in (plain, f"{plain} replaces {replaces}")
        is_comment &= replaces != "" or comment == plain
        if not is_comment and not broken("A-UPG-13"):
            words = f"bad signature: the trusted comment of {url.shown} is not {needed!r}"
            raise rpc.RpcError(rpc.CHECKSUM_MISMATCH, words)
        running = self._settings.version
        lower = versions.is_lower(order.version, running) and replaces != running
        if lower and not broken("A-UPG-14"):
            words = f"version {order.version} is lower than the running {running}"
            raise rpc.RpcError(rpc.FORBIDDEN, words)

    def _exchange(self, order: "_Order", staged: str) -> None:
        """Puts the new file in the place of the installed file, on trial and under guard."""
        installed = self._settings.installed
        try:
            shutil.copy2(installed, installed + ".prev.new")
            os.replace(installed + ".prev.new", installed + ".prev")
            with self._store.change() as state:
                state["trial"] = {
                    "version": order.version,
                    "from": self._settings.version,
                    "checksum": order.checksum,
                    "until": time.monotonic() + self._settings.probation,
                    "starts": 0,
                    "refused": False,
                    "pid": os.getpid(),
                }
            rollback.start_guard(self._settings)
            os.replace(staged, installed)
        except OSError as error:
            with self._store.change() as state:
                state["trial"] = None
            raise rpc.RpcError(rpc.NOT_REPLACED, f"{installed}: {error.strerror}") from None

    async def _restart(self, call: Call) -> None:
        self.restarting = True
        if call.id is not None and not broken("A-UPG-7"):
            # The answer leaves before the close.
            left = call.session.send(rpc.result(call.id, '{"status":"upgrading"}'))
            await asyncio.wait([left], timeout=10)
        if self._line.session is not None:
            self._line.session.close(1001, "the agent is being upgraded")
        while self._line.session is not None:
            await asyncio.sleep(0.01)
        if command := self._settings.restart:
            process = await asyncio.create_subprocess_exec("/bin/sh", "-c", command)
            await process.wait()
            # Whoever runs the service ends this process.
            await asyncio.sleep(10)
        os.execv(self._settings.installed, [self._settings.installed, *rollback.options()])


class _Order:
    """The parameters, checked."""

    def __init__(self, params: dict[str, Any]) -> None:
        rpc.reject_unknown(params, {"version", "download_url", "checksum_sha256"})
        version, url, checksum = (
            params.get(name) for name in ("version", "download_url", "checksum_sha256")
        )
        if not isinstance(version, str) or not versions.VERSION.fullmatch(version):
            raise _wrong(f"version: not {versions.VERSION.pattern}")
        if not isinstance(checksum, str) or not _CHECKSUM.fullmatch(checksum):
            raise _wrong("checksum_sha256: not 64 hex digits")
        if not isinstance(url, str):
            raise _wrong("download_url: no string")
        try:
            self.url = download.Url(url)
        except ValueError as error:
            raise _wrong(f"download_url: {error}") from None
        self.version, self.checksum = version, checksum.lower()


def _wrong(why: str) -> rpc.RpcError:
    return rpc.RpcError(rpc.DOWNLOAD_FAILED, why) if broken("A-UPG-1") else rpc.wrong(why)


def _report(rolled_back: dict[str, Any], *more: str) -> dict[str, Any]:
    names = ["version", "checksum_sha256", "reason", "cause", "banned", *more]
    if broken("A-UPG-16") and not more:
        names.remove("cause")
    return {name: rolled_back[name] for name in names}


def _executable(path: str) -> BinaryIO:
    """A new file that may be executed."""
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o755))


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


async def _tell_progress(call: Call, loading: download.Download) -> None:
    """Every 5 s, to the session that the request came by."""
    while call.id is not None and not broken("A-UPG-4"):
        await asyncio.sleep(scaled(PROGRESS))
        total = rpc.write(loading.total)
        params = f'{{"id":{call.id},"stage":"download","bytes":{loading.bytes},"total":{total}}}'
        call.session.send(rpc.notification("upgrade_progress", params))


async def _test(path: str, version: str) -> None:
    """The file must run here, and say that it is this version."""
    words = f"{os.path.basename(path)} --version does not say vmkit-agent {version}"
    environment = {name: value for name, value in os.environ.items() if name != "VMKIT_AGENT_TOKEN"}
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        async with asyncio.timeout(VERSION_PATIENCE):
            output, _ = await process.communicate()
    # It is an OSError too.
    except TimeoutError:
        process.kill()
        raise rpc.RpcError(rpc.UNFIT, f"{words}: not within {VERSION_PATIENCE} s") from None
    except OSError as error:
        raise rpc.RpcError(rpc.UNFIT, f"{words}: {error.strerror}") from None
    if output.decode("utf-8", "replace").strip() != f"vmkit-agent {version}":
        raise rpc.RpcError(rpc.UNFIT, words)
