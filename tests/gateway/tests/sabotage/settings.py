"""The settings of the environment, by the names that the real agent reads, and those of the command line."""

import dataclasses
import ipaddress
import os
import platform
import sys
import urllib.parse

from breaks import broken

ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armv7", "riscv64": "riscv64"}


@dataclasses.dataclass
class Settings:
    version: str
    arch: str
    installed: str | None
    token: str
    token_file: str | None
    scheme: str
    host: str
    port: int
    target: str
    instance_id: str
    labels: dict[str, str]
    docker: str
    ca_file: str | None
    upgrades: bool
    pubkey: str | None
    probation: float
    restart: str | None
    state: str

    @property
    def tls(self) -> bool:
        return self.scheme == "wss"

    def read_token_again(self) -> bool:
        """Whether the token's file has another token than before, which then is taken."""
        if self.token_file is None:
            return False
        try:
            token = _read(self.token_file)
        except OSError:
            return False
        changed = token not in ("", self.token)
        if changed:
            self.token = token
        return changed


def load(version: str, installed: str | None) -> Settings:
    """Reads the environment. Ends the program with status 78 where a variable can't be used."""
    get = os.environ.get
    token_file = None
    if folder := get("CREDENTIALS_DIRECTORY"):
        path = os.path.join(folder, "vmkit-agent-token")
        token_file = path if os.path.exists(path) else None
    token = _read(token_file) if token_file else get("VMKIT_AGENT_TOKEN", "").strip()
    if not token:
        _unusable("VMKIT_AGENT_TOKEN: not set; put the agent token there")
    url = urllib.parse.urlsplit(get("VMKIT_GATEWAY_URL") or "wss://gateway.vmkit.dev/api/daemon")
    if url.scheme not in ("ws", "wss") or not url.hostname:
        _unusable("VMKIT_GATEWAY_URL: must start with wss://")
    if url.scheme == "ws" and not is_loopback(url.hostname) and not broken("A-CONN-9"):
        _unusable("VMKIT_GATEWAY_URL: ws: is allowed to a loopback address only; use wss:")
    return Settings(
        version=version,
        arch=ARCH.get(platform.machine(), "amd64"),
        installed=installed and os.path.realpath(installed),
        token=token,
        token_file=token_file,
        scheme=url.scheme,
        host=url.hostname,
        port=url.port or (443 if url.scheme == "wss" else 80),
        target=(url.path or "/") + (f"?{url.query}" if url.query else ""),
        instance_id=get("VMKIT_INSTANCE_ID") or _machine_id(),
        labels=_labels(get("VMKIT_LABELS", "")),
        docker=get("VMKIT_DOCKER_BIN") or "docker",
        ca_file=get("VMKIT_CA_FILE") or None,
        upgrades=get("VMKIT_UPGRADES", "on") != "off",
        pubkey=get("VMKIT_UPGRADE_PUBKEY") or None,
        probation=float(get("VMKIT_UPGRADE_PROBATION_SECS") or 120),
        restart=get("VMKIT_RESTART_CMD") or None,
        state=get("STATE_DIRECTORY") or os.path.join(os.getcwd(), "vmkit-sabotage-state"),
    )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _labels(text: str) -> dict[str, str]:
    pairs = [pair.split("=", 1) for pair in text.split(",") if pair.strip()]
    if any(len(pair) != 2 for pair in pairs):
        _unusable("VMKIT_LABELS: not name=value,name=value")
    return {name.strip(): value.strip() for name, value in pairs}


def _machine_id() -> str:
    try:
        return _read("/etc/machine-id")
    except OSError:
        return platform.node()


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def _unusable(words: str) -> None:
    print(words, file=sys.stderr)
    sys.exit(78)
