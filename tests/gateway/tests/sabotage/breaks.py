"""Which rule the agent breaks, and the list of all breaks: what the agent does wrong for each.

The obedient code asks `broken("A-...")` at the place where it obeys the rule.
"""

BREAKS = {
    "A-CONN-1": "dials with another query than its URL has",
    "A-CONN-2": "sends the token with the scheme Token in place of Bearer",
    "A-CONN-3": "sends the token in the header Cookie too",
    "A-CONN-4": "writes linux and the architecture in User-Agent without parentheses",
    "A-CONN-5": "offers permessage-deflate",
    "A-CONN-6": "stays and registers where the 101 accepts an extension or names a subprotocol",
    "A-CONN-7": "gives a dial 200 s",
    "A-CONN-8": "takes every certificate",
    "A-CONN-9": "dials ws: to every address",
    "A-CONN-10": "listens on a free port of 127.0.0.1",
    "A-CONN-11": "sends a register in doctor's session",
    "A-FRAME-1": 'says "jsonrpc": "1.0" in its answers',
    "A-FRAME-2": "ends no message in a newline",
    "A-FRAME-3": "fills a truncated log up with blanks to more than 1 MiB",
    "A-FRAME-4": "sends a large message in one frame",
    "A-FRAME-5": "takes messages of up to 256 KiB only",
    "A-FRAME-6": "writes the length of a short text frame in two bytes more than it needs",
    "A-BEAT-1": "pings every 60 s",
    "A-BEAT-2": "does not mind a ping that is not answered",
    "A-BEAT-3": "does not mind a ping that can't be written, while frames arrive",
    "A-BEAT-4": "answers a ping with a pong of another payload",
    "A-BEAT-5": "answers a ping after 0.7 s",
    "A-RETRY-1": "does not dial again after a close code from 4000 on, but 4409",
    "A-RETRY-2": "waits the whole limit, no random part of it",
    "A-RETRY-3": "keeps the long limit after a session of 60 s, and waits all of it",
    "A-RETRY-4": "does not heed Retry-After",
    "A-RETRY-5": "does not heed data.retry_after",
    "A-RETRY-6": "dials at once after 4409",
    "A-RETRY-7": "follows redirects",
    "A-RETRY-8": "never reads its token's file again",
    "A-CLOSE-1": "answers a close frame with another code",
    "A-CLOSE-2": "sends a message after a close frame",
    "A-CLOSE-3": "keeps the connection for 4 s after a close frame",
    "A-CLOSE-4": "closes with 1000 on a signal",
    "A-CLOSE-5": "closes with 1011 for a broken WebSocket protocol",
    "A-CLOSE-6": "closes with 1011 for a binary frame",
    "A-CLOSE-7": "closes with 1011 for a text that is not UTF-8",
    "A-CLOSE-8": "closes with 1011 when its register was answered with an error",
    "A-CLOSE-9": "closes with 1011 for a message over 1 MiB",
    "A-RPC-1": "reads an id as a number and writes it anew",
    "A-RPC-2": "answers a notification of an unknown method",
    "A-RPC-3": "answers a text that is not JSON with -32600",
    "A-RPC-4": "takes a request without jsonrpc",
    "A-RPC-5": "answers an unknown method with -32600",
    "A-RPC-6": "takes params that are an array for {}",
    "A-RPC-7": "takes a stream or follow that is no boolean for false",
    "A-RPC-8": "answers a response with an error",
    "A-RPC-9": "serves a 33rd request",
    "A-RPC-10": "serves no logs_fetch while another one is under way",
    "A-RPC-11": "goes on with a logs_fetch of a lost session and answers it in the next session",
    "A-ERR-1": "answers -32050 where a log driver can't be read",
    "A-ERR-2": "puts a newline into every message of an error",
    "A-ERR-3": "shows user part and query of a download's URL",
    "A-REG-1": "registers twice in a session",
    "A-REG-2": "leaves out os",
    "A-REG-3": "has another version in User-Agent",
    "A-REG-4": "takes another instance_id in the second session",
    "A-REG-5": "tells an address that is not its own",
    "A-REG-6": "takes a result without ok: true for accepted",
    "A-REG-7": "serves requests only after the answer to register",
    "A-REG-8": "leaves out protocol",
    "A-REG-9": "leaves out upgrade",
    "A-REG-10": "leaves out build, boot_id, labels and host",
    "A-MET-1": "leaves out mem_pct",
    "A-MET-2": "does not say why a part is null",
    "A-MET-3": "tells percentages with two decimals",
    "A-MET-4": "tells the time with another offset than UTC",
    "A-MET-5": "waits for docker without limit",
    "A-MET-6": "takes a snapshot for each request",
    "A-MET-7": "sends health_snapshot before the results",
    "A-MET-8": "answers a metrics_collect without an id",
    "A-MET-9": "leaves out oom_killed of containers",
    "A-MET-10": "leaves out host",
    "A-MET-11": "leaves out container_health together with containers",
    "A-LOG-1": "answers a wrong container name with -32001",
    "A-LOG-2": "fetches a line less than asked for",
    "A-LOG-3": "puts standard error behind standard output",
    "A-LOG-4": "does not tell standard error apart",
    "A-LOG-5": "leaves CR at the end of a text",
    "A-LOG-6": "leaves the inner time stamps of long lines",
    "A-LOG-7": "does not say that a text was cut",
    "A-LOG-8": "leaves out the newest lines",
    "A-LOG-9": "answers -32002 for a container that is not there",
    "A-LOG-10": "ignores since",
    "A-LOG-11": "answers a logs_fetch without an id",
    "A-LOG-12": "counts seq from 1",
    "A-LOG-13": "sends chunks of 512 KiB",
    "A-LOG-14": "counts a line too many",
    "A-FOL-1": "sends new lines after 2 s",
    "A-FOL-2": "ends a follow after 45 s",
    "A-FOL-3": "leaves out ended",
    "A-FOL-4": "serves a ninth follow",
    "A-FOL-5": "does not say how many lines it left out",
    "A-FOL-6": "delays other requests by 2 s while a follow is under way",
    "A-FOL-7": "says cancelled: true for a follow that is not there",
    "A-FOL-8": "answers a logs_cancel with a wrong id with cancelled: false",
    "A-UPG-1": "answers wrong parameters with -32010",
    "A-UPG-2": "changes the installed file when an upgrade fails",
    "A-UPG-3": "answers a wrong checksum with -32010",
    "A-UPG-4": "tells no progress",
    "A-UPG-5": "serves other requests after the upgrade",
    "A-UPG-6": "answers a second upgrade with -32603",
    "A-UPG-7": "closes before it has sent the result",
    "A-UPG-8": "ends an upgrade with its session",
    "A-UPG-9": "registers with the old version after an upgrade",
    "A-UPG-10": "takes a banned checksum",
    "A-UPG-11": "tells the checksum of what was found",
    "A-UPG-12": "answers -32013 where upgrades are off",
    "A-UPG-13": "does not read the trusted comment",
    "A-UPG-14": "takes a lower version",
    "A-UPG-15": "tells a roll-back in every session",
    "A-UPG-16": "leaves out the cause of a roll-back",
    "A-GROW-1": "answers unknown parameters with -32602",
}

# Rules that can't be broken so that a gateway, or whoever started the agent, sees it.
UNBREAKABLE: dict[str, str] = {}

_chosen: str | None = None


def choose(rule: str) -> None:
    """From now on this rule is broken."""
    global _chosen
    if rule not in BREAKS:
        raise ValueError(f"no break {rule}; see --list-breaks")
    _chosen = rule


def chosen() -> str | None:
    return _chosen


def broken(rule: str) -> bool:
    return rule == _chosen
