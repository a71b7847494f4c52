#!/usr/bin/env python3
"""A gateway in a hundred lines, to start your own from. It accepts agents, asks each for its metrics
every minute, and fetches and follows logs. The protocol is in dist/protocol.md.

    pip install websockets        (Python 3.11 or newer)
    GATEWAY_TOKEN=<the agents' token> python3 gateway.py [PORT [CERTIFICATE KEY]]

It prints one JSON object a line and reads commands from standard input: see HELP. Without a certificate
it listens on 127.0.0.1 only, for agents on this machine or for a proxy that adds TLS; with a certificate
it listens on all addresses.
"""
import asyncio, contextlib, hmac, itertools, json, os, signal, ssl, sys, threading
from http import HTTPStatus

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

HELP = ["agents", "logs AGENT CONTAINER LINES", "follow AGENT CONTAINER", "cancel AGENT ID"]
TOKEN = os.environ.get("GATEWAY_TOKEN") or sys.exit("set GATEWAY_TOKEN to the token of the agents")
agents = {}  # instance_id -> the WebSocket of its session
ids = itertools.count(1)


def show(**fields):
    # JSON escapes control characters, so a container's log can't control the terminal.
    print(json.dumps(fields), flush=True)


def check(connection, request):
    """Runs before a WebSocket is accepted. A returned response refuses it."""
    if request.path != "/api/daemon":
        return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")
    given = request.headers.get("Authorization", "").encode(errors="replace")
    # Compared in constant time: the duration tells nothing about the token.
    if not hmac.compare_digest(given, f"Bearer {TOKEN}".encode()):
        return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong token\n")


async def ask(agent, method, **params):
    """Sends a request. serve_agent shows the answer when it comes: it has the same id."""
    socket = agents[agent]
    request = {"jsonrpc": "2.0", "id": next(ids), "method": method, "params": params}
    show(agent=agent, request=request)
    with contextlib.suppress(ConnectionClosed):
        await socket.send(json.dumps(request))


async def poll(agent):
    while True:
        await ask(agent, "metrics_collect")
        await asyncio.sleep(60)


async def serve_agent(socket):
    try:
        register = json.loads(await asyncio.wait_for(socket.recv(), 10))
        if register.get("method") != "register":
            return
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": register["id"], "result": {"ok": True}}))
    except (ConnectionClosed, TimeoutError):
        return  # `vmkit-agent doctor` connects without a register.
    agent = register["params"]["instance_id"]
    show(agent=agent, registered=register["params"])
    older, agents[agent] = agents.get(agent), socket
    polling = asyncio.create_task(poll(agent))
    try:
        if older:
            await older.close(4409, "replaced by a newer session of the same instance_id")
        async for text in socket:
            message = json.loads(text)
            # A health_snapshot repeats the result of metrics_collect.
            if message.get("method") != "health_snapshot":
                show(agent=agent, message=message)
    except ConnectionClosed:
        pass  # Without a close frame.
    finally:
        polling.cancel()
        show(agent=agent, closed=socket.close_code)
        if agents.get(agent) is socket:
            del agents[agent]


async def obey(command):
    try:
        match command.split():
            case ["agents"]:
                show(agents=list(agents))
            case ["logs", agent, container, lines]:
                await ask(agent, "logs_fetch", container=container, lines=int(lines))
            case ["follow", agent, container]:
                await ask(agent, "logs_fetch", container=container, follow=True)
            case ["cancel", agent, request]:
                await ask(agent, "logs_cancel", id=int(request))
            case _:
                show(commands=HELP)
    except (KeyError, ValueError) as error:
        show(failed=command.strip(), error=repr(error))


async def main(port=8080, *certificate):
    loop, tls, address = asyncio.get_running_loop(), None, "127.0.0.1"
    if certificate:
        tls, address = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), "0.0.0.0"
        tls.load_cert_chain(*certificate)

    def read_commands():
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(obey(line), loop)

    async with serve(serve_agent, address, int(port), process_request=check, ssl=tls) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.close)  # Closes the sessions with 1001.
        threading.Thread(target=read_commands, daemon=True).start()
        show(listening=server.sockets[0].getsockname()[1])
        await server.wait_closed()


asyncio.run(main(*sys.argv[1:]))
