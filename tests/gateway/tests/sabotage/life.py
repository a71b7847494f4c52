"""The agent's life: dial, session, wait, and again, until a signal."""

import asyncio
import signal
import sys

import dial
from breaks import broken
from call import Line
from connected import Connected
from retry import DOUBLED, Retry
from settings import Settings
from upgrade import Upgrades


class Life:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._line = Line(settings)
        self._upgrades = Upgrades(self._line)
        self._stopping = asyncio.Event()
        self._retry = Retry()
        self._sessions = 0

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if broken("A-CONN-10"):
            await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        while not self._stopping.is_set():
            asked = await self._unless_stopped(self._attempt())
            if asked is not None:
                await self._unless_stopped(asyncio.sleep(self._retry.delay(asked)))
            if self._upgrades.restarting:
                # The upgrade executes the new version, or has asked whoever runs the service.
                await self._stopping.wait()

    async def _attempt(self) -> float:
        """Dials once, and lives the session. How long the gateway asks not to be dialed again."""
        try:
            dialed = await dial.dial(self._settings)
        except dial.Failed as failed:
            _log(str(failed))
            # A corrected token needs no restart.
            if failed.status in (401, 403) and not broken("A-RETRY-8"):
                self._settings.read_token_again()
            return failed.retry_after
        self._sessions += 1
        connected = Connected(self._line, self._upgrades, dialed, self._sessions)
        ended = await connected.run()
        _log(ended.words)
        self._retry.session_ended(connected.registered_for)
        if broken("A-RETRY-1") and 4000 <= (ended.code or 0) <= 4999 and ended.code != 4409:
            await self._stopping.wait()
        if ended.code == 4409 and not broken("A-RETRY-6"):
            return DOUBLED
        return connected.retry_after

    def _stop(self) -> None:
        self._stopping.set()
        if self._line.session is not None:
            self._line.session.close(1000 if broken("A-CLOSE-4") else 1001, "the agent stops")

    async def _unless_stopped(self, work) -> float | None:
        """Lets a live session close; ends everything else at once."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done() and self._line.session is None:
            task.cancel()
        done = await asyncio.gather(task, return_exceptions=True)
        if isinstance(done[0], BaseException):
            if not isinstance(done[0], asyncio.CancelledError):
                raise done[0]
            return None
        return done[0]


def _log(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


async def doctor(settings: Settings) -> None:
    """Dials with the token and the headers of a session, to see whether one is possible."""
    dialed = await dial.dial(settings)
    connected = Connected(Line(settings), Upgrades(Line(settings)), dialed, 1)
    if not broken("A-CONN-11"):
        connected.session.close(1000, "vmkit-agent doctor: the gateway answers")
        await connected.session.run()
        return
    run = asyncio.create_task(connected.run())
    await asyncio.sleep(0.2)
    connected.session.close(1000, "vmkit-agent doctor: the gateway answers")
    await run
