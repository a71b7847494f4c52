"""Runs the docker command line: arguments in, output out, and why it failed.

The arguments are those of the real agent, so that a stand-in for docker serves both.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import rpc
from breaks import broken
from settings import Settings

_COMPLAINT_LIMIT = 8192


class Failure(Exception):
    """Docker failed; in one line for the operator."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code

    def error(self) -> rpc.RpcError:
        return rpc.RpcError(self.code, str(self))


@contextlib.asynccontextmanager
async def started(
    settings: Settings, arguments: list[str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A docker with two pipes. On every way out it is killed, with all that it has started."""
    environment = {name: value for name, value in os.environ.items() if name != "VMKIT_AGENT_TOKEN"}
    try:
        process = await asyncio.create_subprocess_exec(
            settings.docker,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        words = f"docker: cannot start {settings.docker}: {error.strerror}; set VMKIT_DOCKER_BIN"
        raise Failure(rpc.DOCKER_UNUSABLE, words) from None
    try:
        yield process
    finally:
        # The number of a process that has ended may be another's by now.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        # A grandchild may hold the pipes: nobody waits for their end. Only the transport closes them.
        process._transport.close()


async def ask(settings: Settings, arguments: list[str]) -> str:
    """The standard output of a docker that ends well."""
    async with started(settings, arguments) as process:
        output, complaint = await process.communicate()
        text = output.decode("utf-8", "replace")
        if process.returncode:
            words = complaint.decode("utf-8", "replace")
            if arguments[0] == "inspect" and _only_vanished(words):
                return text
            raise failure(words, process.returncode)
        return text


def failure(complaint: str, status: int) -> Failure:
    """Why docker failed, told from its standard error."""
    lines = [line.strip() for line in complaint[-_COMPLAINT_LIMIT:].splitlines()]
    lines = [line for line in lines if line and not line.lower().startswith("warning:")]
    for line in lines:
        words = line.lower()
        if "no such container" in words or "no such object" in words:
            name = line.rsplit(": ", 1)[-1]
            code = rpc.DOCKER_UNUSABLE if broken("A-LOG-9") else rpc.NO_SUCH_CONTAINER
            return Failure(code, f"docker: no such container: {name}: see docker ps -a")
        if "does not support reading" in words:
            code = -32050 if broken("A-ERR-1") else rpc.DOCKER_UNUSABLE
            return Failure(code, f"docker: {line}: run the container with the driver json-file")
        if (
            "cannot connect" in words
            or "failed to connect" in words
            or "permission denied" in words
        ):
            return Failure(rpc.DOCKER_UNUSABLE, f"docker: {line}: see systemctl status docker")
    why = lines[0] if lines else "failed without a message"
    return Failure(rpc.INTERNAL_ERROR, f"docker: {why[:200]} (exit status {status})")


def _only_vanished(complaint: str) -> bool:
    lines = [line.lower() for line in complaint.splitlines() if line.strip()]
    return bool(lines) and all("no such" in line for line in lines)
