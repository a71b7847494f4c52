"""From a message to its handler, and the requests in flight: at most 32, each answered when it is
done. They end with the session that they came by; an upgrade alone goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable

import docker
import follow
import logs
import metrics
import rpc
from breaks import broken
from call import Call, Line
from session import Session
from upgrade import Upgrades

LIMIT = 32
Handler = Callable[[Call], Awaitable[str | None]]


class Flight:
    """The requests of one session."""

    def __init__(self, line: Line, upgrades: Upgrades, session: Session) -> None:
        self._line, self._upgrades, self._session = line, upgrades, session
        self._tasks: set[asyncio.Task] = set()
        self._snapshots = metrics.Snapshots(line.settings, session)
        self._follows = follow.Follows()
        # For the breaks that hold requests back.
        self._waiting: list[rpc.Request] | None = [] if broken("A-REG-7") else None
        self._one_log = asyncio.Lock()

    def registered(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for request in waiting:
            self.start(request)

    def start(self, request: rpc.Request) -> None:
        if self._waiting is not None:
            self._waiting.append(request)
            return
        if broken("A-FOL-6") and self._follows.count and request.method != "logs_cancel":
            asyncio.get_running_loop().call_later(2, self._start, request)
            return
        self._start(request)

    def _start(self, request: rpc.Request) -> None:
        call = Call(request, self._session, self._line)
        try:
            self._begin(call, rpc.params_of(request))
        except rpc.RpcError as error:
            call.fail(error)

    def end(self) -> None:
        """The session is over: nobody waits for what is left."""
        for task in self._tasks:
            if not (broken("A-RPC-11") and task.get_name() == "logs_fetch"):
                task.cancel()
        self._follows.end()
        self._snapshots.end()

    def _begin(self, call: Call, params: dict) -> None:
        method = call.request.method
        if method == "logs_cancel":
            call.answer(self._follows.cancel(call, params))
            return
        if method == "logs_fetch":
            wanted = logs.Wanted.of(params)
            if wanted.follow:
                # Nothing is sent for a notification, so it needs no follow.
                if call.id is not None or broken("A-FOL-10"):
                    self._follows.start(call, wanted)
                return
        if len(self._tasks) + self._upgrades.count >= LIMIT and not broken("A-RPC-9"):
            raise rpc.RpcError(rpc.BUSY, f"busy: {LIMIT} requests are in flight; ask again later")
        match method:
            case "metrics_collect":
                rpc.reject_unknown(params, set())
                self._run(call, self._snapshots.serve)
            case "logs_fetch":
                self._run(call, lambda call: logs.fetch(call, wanted))
            case "agent_upgrade":
                self._upgrades.start(call, params)
            case _:
                code = rpc.INVALID_REQUEST if broken("A-RPC-5") else rpc.METHOD_NOT_FOUND
                raise rpc.RpcError(code, f"unknown method {rpc.write(method)[:66]}")

    def _run(self, call: Call, handler: Handler) -> None:
        task = asyncio.create_task(self._serve(call, handler), name=call.request.method)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, call: Call, handler: Handler) -> None:
        try:
            if broken("A-UPG-5"):
                await self._upgrades.idle()
            if broken("A-RPC-10") and call.request.method == "logs_fetch":
                async with self._one_log:
                    result = await handler(call)
            else:
                # A slow request delays no other.
                result = await handler(call)
            if result is not None:
                call.answer(result)
        except docker.Failure as failure:
            call.fail(failure.error())
        except rpc.RpcError as error:
            call.fail(error)
