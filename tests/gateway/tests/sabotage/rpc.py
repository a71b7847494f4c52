"""JSON-RPC 2.0: reads the messages that arrive, writes the messages that leave.

The members of a message are kept as the texts they were written in, because an id has to come back
byte for byte.
"""

import dataclasses
import json
import re
from typing import Any

from breaks import broken

ID_LIMIT = 16 * 1024

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
NO_SUCH_CONTAINER = -32001
DOCKER_UNUSABLE = -32002
TOOK_TOO_LONG = -32003
BUSY = -32004
DOWNLOAD_FAILED = -32010
CHECKSUM_MISMATCH = -32011
UNFIT = -32012
NOT_REPLACED = -32013
FORBIDDEN = -32014


class RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        # One line, whatever a stranger put into it.
        self.message = " ".join(message.split())[:1000]
        if broken("A-ERR-2"):
            self.message += "\nsee the agent's log"


@dataclasses.dataclass
class Request:
    """A request; a notification where it has no id. `id` and `params` are JSON."""

    id: str | None
    method: str
    params: str | None


@dataclasses.dataclass
class Response:
    id: str | None
    result: str | None
    error: str | None


def parse(text: str) -> Request | Response:
    """Raises the error to answer with `"id": null`."""
    try:
        members = _members(text)
    except ValueError as error:
        code = INVALID_REQUEST if broken("A-RPC-3") else PARSE_ERROR
        raise RpcError(code, f"parse error: the message is not JSON: {error}") from None
    if not isinstance(members, dict):
        raise _invalid(members)
    version = members.get("jsonrpc")
    if version is None and "method" in members and broken("A-RPC-4"):
        version = '"2.0"'
    if version is None or read(version) != "2.0":
        raise _invalid('jsonrpc is not "2.0"')
    method, id_ = members.get("method"), members.get("id")
    if method is None:
        error = members.get("error")
        error = None if error == "null" else error
        if error is None and "result" not in members:
            raise _invalid("no method")
        return Response(id_, members.get("result"), error)
    name = read(method)
    if not isinstance(name, str):
        raise _invalid("method is not a string")
    if id_ is not None:
        check_id(id_)
        if broken("A-RPC-1"):
            id_ = json.dumps(json.loads(id_))
    return Request(id_, name, members.get("params"))


def check_id(text: str) -> None:
    if text[0] not in '"-0123456789':
        raise _invalid("the id is neither a string nor a number")
    if len(text.encode("utf-8", "replace")) > ID_LIMIT:
        raise _invalid("the id is over 16 KiB")


def params_of(request: Request) -> dict[str, Any]:
    """The parameters; absent and `null` count as `{}`."""
    if request.params is None or request.params == "null":
        return {}
    if not request.params.startswith("{"):
        if broken("A-RPC-6") and request.params.startswith("["):
            return {}
        raise wrong("not an object")
    return read(request.params)


def wrong(why: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"invalid params: {why}")


def write(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def request(id_: int, method: str, params: str) -> str:
    return f'{{"jsonrpc":"2.0","id":{id_},"method":"{method}","params":{params}}}'


def notification(method: str, params: str) -> str:
    return f'{{"jsonrpc":"2.0","method":"{method}","params":{params}}}'


def result(id_: str, value: str) -> str:
    version = "1.0" if broken("A-FRAME-1") else "2.0"
    return f'{{"jsonrpc":"{version}","id":{id_},"result":{value}}}'


def error(id_: str | None, error: RpcError) -> str:
    value = write({"code": error.code, "message": error.message})
    return f'{{"jsonrpc":"2.0","id":{id_ or "null"},"error":{value}}}'


def read(text: str) -> Any:
    """The value of a JSON text whose form was checked."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        return None


# How JSON is cut into members, of any depth.

_TOKEN = re.compile(
    r'[ \t\r\n]*([{}\[\],:]|"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
    r"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)"
)
_END = re.compile(r"[ \t\r\n]*\Z")
# An integer of any length is one, and thirty digits are more than any limit here.
_DECODER = json.JSONDecoder(parse_int=lambda text: int(text[:30]))


def _members(text: str) -> dict[str, str] | str:
    """The members of the object `text`, each in its own JSON; or, of other JSON, what is wrong."""
    position, tokens = _skip(text, 0)
    if not _END.match(text, position):
        raise ValueError("something follows the value")
    if text[tokens] != "{":
        return "batches are not supported" if text[tokens] == "[" else "not an object"
    members: dict[str, str] = {}
    twice: str | None = None
    place = tokens + 1
    while (found := _token(text, place)).group(1) not in ("}", ","):
        name = read(found.group(1))
        place = _token(text, found.end()).end()
        end, start = _skip(text, place)
        if name in members and name in ("jsonrpc", "id", "method", "params", "result", "error"):
            twice = name
        members[name] = text[start:end]
        comma = _token(text, end)
        place = comma.end()
        if comma.group(1) == "}":
            break
    return f"{twice} stands there twice" if twice else members


def _token(text: str, place: int) -> re.Match[str]:
    found = _TOKEN.match(text, place)
    if found is None:
        raise ValueError(f"no JSON at character {place}")
    return found


def _skip(text: str, place: int) -> tuple[int, int]:
    """The end and the start of the value at `place`. Checks its form without recursion."""
    open_: list[str] = []
    start = -1
    while True:
        found = _token(text, place)
        token, place = found.group(1), found.end()
        start = found.start(1) if start < 0 else start
        if token in ("{", "["):
            closing = "}" if token == "{" else "]"
            after = _token(text, place)
            if after.group(1) == closing:
                place = after.end()
            else:
                open_.append(closing)
                place = _name(text, place) if token == "{" else place
                continue
        elif token in "}],:":
            raise ValueError(f"{token} at character {found.start(1)}")
        # A value is complete: what it stands in goes on or ends.
        while open_:
            after = _token(text, place)
            place = after.end()
            if after.group(1) == ",":
                place = _name(text, place) if open_[-1] == "}" else place
                break
            if after.group(1) != open_.pop():
                raise ValueError(f"{after.group(1)} at character {after.start(1)}")
        else:
            return place, start


def _name(text: str, place: int) -> int:
    """Behind a member's name and its colon."""
    name = _token(text, place)
    colon = _token(text, name.end())
    if not name.group(1).startswith('"') or colon.group(1) != ":":
        raise ValueError(f"no name at character {place}")
    return colon.end()


def _invalid(why: str) -> RpcError:
    return RpcError(INVALID_REQUEST, f"invalid request: {why}")


def reject_unknown(params: dict[str, Any], known: set[str]) -> None:
    """A member that is not known is ignored."""
    if broken("A-GROW-1") and (unknown := params.keys() - known):
        raise wrong(f"unknown member {min(unknown)}")


def member(text: str, name: str) -> str | None:
    """The JSON of a member of the object `text`."""
    members = _members(text)
    return members.get(name) if isinstance(members, dict) else None
