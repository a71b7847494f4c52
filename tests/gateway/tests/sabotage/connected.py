"""One session with the gateway, from `register` to its end."""

import asyncio

import dial
import register
import rpc
from breaks import broken
from call import Line
from clock import scaled
from flight import Flight
from session import Ended, Session
from upgrade import Upgrades


class Connected:
    def __init__(self, line: Line, upgrades: Upgrades, dialed: dial.Dialed, number: int) -> None:
        self._line, self._upgrades, self._dialed, self._number = line, upgrades, dialed, number
        self.session = Session(dialed.reader, dialed.writer)
        self.session.take_message = self._take
        self._flight = Flight(line, upgrades, self.session)
        self._registered: float | None = None
        self._overdue: asyncio.TimerHandle | None = None
        # The gateway asked not to be dialed earlier, in seconds of the protocol.
        self.retry_after = 0.0

    @property
    def registered_for(self) -> float:
        if self._registered is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._registered

    async def run(self) -> Ended:
        self._line.session = self.session
        text = register.message(
            self._line.settings, self._dialed.ip, self._number, self._upgrades.told()
        )
        self.session.send(text)
        loop = asyncio.get_running_loop()
        self._overdue = loop.call_later(scaled(register.PATIENCE), self._refuse_overdue)
        try:
            return await self.session.run()
        finally:
            self._overdue.cancel()
            self._line.session = None
            self._flight.end()
            if broken("A-UPG-8"):
                self._upgrades.abandon()

    def _take(self, text: str) -> None:
        try:
            message = rpc.parse(text)
        except rpc.RpcError as error:
            self.session.send(rpc.error(None, error))
            return
        if isinstance(message, rpc.Request):
            self._flight.start(message)
        elif message.id == str(register.ID) and self._registered is None:
            self._take_answer(message)
        elif broken("A-RPC-8"):
            self.session.send(
                rpc.error(message.id, rpc.RpcError(rpc.INVALID_REQUEST, "no request"))
            )

    def _take_answer(self, response: rpc.Response) -> None:
        self._overdue.cancel()
        try:
            register.check_answer(response)
        except register.Refused as refused:
            self.retry_after = refused.retry_after
            self._upgrades.refused()
            is_error = response.error is not None
            self.session.close(1011 if is_error and broken("A-CLOSE-8") else 1008, str(refused))
            return
        self._registered = asyncio.get_running_loop().time()
        if broken("A-REG-1"):
            self.session.send(rpc.request(2, "register", rpc.write({"again": True})))
        self._upgrades.accepted()
        for rolled_back in self._upgrades.unreported():
            self.session.send(rpc.notification("upgrade_rolled_back", rpc.write(rolled_back)))
        self._flight.registered()

    def _refuse_overdue(self) -> None:
        self.session.close(1008, "register was not answered within 10 s")
