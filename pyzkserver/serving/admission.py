"""Who may connect: how many connections in all, and how many from one address."""

import logging
import socket
from typing import Protocol

from pyzkserver.config import Config

__all__ = ["Admission", "client_address", "prepare_socket"]

logger = logging.getLogger("pyzkserver.port")


class Admission:
    """Counts connections against ``maxCnxns`` and, by address, ``maxClientCnxns``; 0 is no limit."""

    def __init__(self, config: Config) -> None:
        self._limit = config.max_cnxns
        self._limit_per_address = config.max_client_cnxns
        self._by_address: dict[str, int] = {}
        self.total = 0

    def admit(self, address: str) -> bool:
        """Whether one more from this address may come in; if so, it is counted."""
        here = self._by_address.get(address, 0)
        reason = ""
        if self._limit and self.total >= self._limit:
            reason = f"there are {self.total} connections; see maxCnxns"
        elif self._limit_per_address and here >= self._limit_per_address:
            reason = f"it has {here} connections; see maxClientCnxns"
        if reason:
            logger.warning("refusing a connection from %s: %s", address, reason)
            return False
        self._by_address[address] = here + 1
        self.total += 1
        return True

    def leave(self, address: str) -> None:
        """One that was admitted is gone."""
        self.total -= 1
        here = self._by_address[address] - 1
        if here:
            self._by_address[address] = here
        else:
            del self._by_address[address]


def client_address(peer: tuple[str, int] | tuple[str, int, int, int]) -> tuple[str, int]:
    """(address, port) of a peer, the address as Java writes it: it is an identity in ACLs of scheme ip."""
    host, port = peer[0], peer[1]
    if ":" not in host:
        return host, port
    host = host.partition("%")[0]
    packed = socket.inet_pton(socket.AF_INET6, host)
    if packed[:12] == b"\0" * 10 + b"\xff\xff":  # an IPv4 client of a dual-stack listener
        return socket.inet_ntop(socket.AF_INET, packed[12:]), port
    return ":".join(f"{packed[i] << 8 | packed[i + 1]:x}" for i in range(0, 16, 2)), port


class _HasOptions(Protocol):
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def prepare_socket(sock: _HasOptions, config: Config) -> None:
    """Set what Apache sets on a client's socket, be it Python's or Trio's."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if config.client_tcp_keep_alive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError:
        pass  # macOS refuses it for a client that is gone already; the first read will tell
