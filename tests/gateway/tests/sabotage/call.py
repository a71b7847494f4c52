"""A request in flight, and where its answer goes."""

import dataclasses

import rpc
from breaks import broken
from session import Session
from settings import Settings


@dataclasses.dataclass
class Line:
    """The agent's line to the gateway: the session of now, if there is one."""

    settings: Settings
    session: Session | None = None


@dataclasses.dataclass
class Call:
    request: rpc.Request
    session: Session
    line: Line

    @property
    def id(self) -> str | None:
        return self.request.id

    @property
    def settings(self) -> Settings:
        return self.line.settings

    def answer(self, result: str) -> None:
        if self.id is not None:
            self._send(rpc.result(self.id, result))

    def fail(self, error: rpc.RpcError) -> None:
        # A notification is not answered, not even with an error.
        unknown = error.code == rpc.METHOD_NOT_FOUND and broken("A-RPC-2")
        if self.id is not None or unknown:
            self._send(rpc.error(self.id, error))

    def _send(self, text: str) -> None:
        # The answer goes to the session that the request came by, or nowhere.
        session = self.session
        if broken("A-RPC-11") and self.line.session is not None:
            session = self.line.session
        session.send(text)
