"""Hosts of a chaos run in networks of their own, joined by a bridge: on it stands what they share. Linux, and root."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Network:
    """Where a host of the run lives; `shared`: where it finds the database, the broker and both sides."""

    address: str = LOOPBACK
    shared: str = LOOPBACK
    enter: tuple[str, ...] = ()
    "What stands before a command, so that it runs in there."

    def env(self, env: Mapping[str, str]) -> dict[str, str]:
        """As somebody who can reach nothing by our own loopback has to be told it."""
        return {name: value.replace(LOOPBACK, self.shared) for name, value in env.items()}


ONE_MACHINE = Network()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def networks(hosts: int) -> Iterator[list[Network]]:
    """One for each host; all of them this machine's own where there is one host, or where we may not make any."""
    with ExitStack() as stack:
        made = [ONE_MACHINE] * hosts
        if hosts > 1 and os.geteuid() == 0 and shutil.which("ip"):
            try:
                made = _made(stack, hosts)
            except (OSError, subprocess.CalledProcessError):
                stack.close()
        yield made


def shared(made: Sequence[Network]) -> str:
    """Where the hosts find what they share, if that is not loopback."""
    return made[0].shared if made[0].enter else ""


def _made(stack: ExitStack, hosts: int) -> list[Network]:
    """Named and numbered by our process, so that two runs do not meet."""
    name, net = f"ob{os.getpid()}", f"10.213.{os.getpid() % 250}"
    shared = f"{net}.1"
    _ip("link", "add", name, "type", "bridge")
    stack.callback(subprocess.run, ["ip", "link", "delete", name], capture_output=True, check=False)
    _ip("address", "add", f"{shared}/24", "dev", name)
    _ip("link", "set", name, "up")
    found = []
    for number in range(hosts):
        space, cable, address = f"{name}n{number}", f"{name}v{number}", f"{net}.{11 + number}"
        _ip("netns", "add", space)
        stack.callback(subprocess.run, ["ip", "netns", "delete", space], capture_output=True, check=False)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", cable, "master", name, "up")
        _ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")
        found.append(Network(address=address, shared=shared, enter=("ip", "netns", "exec", space)))
    return found
