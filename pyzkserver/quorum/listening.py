"""Where a member listens, for learners and for elections, and what becomes of an address that cannot be had."""

from collections.abc import Iterable

import trio

from pyzkserver.host import Host

from .members import Address

__all__ = ["Listener", "close_all", "open_listeners", "where_to_listen"]

Listener = trio.abc.Listener[trio.abc.Stream]


def where_to_listen(addresses: Iterable[Address], *, everywhere: bool) -> list[Address]:
    """These; or with quorumListenOnAllIPs all of the machine's, each port once (``getWildcardAddresses``)."""
    if not everywhere:
        return list(addresses)
    hosts: dict[int, str] = {}
    for address in addresses:
        if ":" in address.host or address.port not in hosts:
            # That of IPv6 takes IPv4 as well.
            hosts[address.port] = "::" if ":" in address.host else "0.0.0.0"
    return [Address(host, port) for port, host in hosts.items()]


def open_listeners(host: Host, addresses: Iterable[Address]) -> tuple[list[Listener], dict[Address, OSError]]:
    """A listener for each of these that can be had, and why the others cannot.

    With several addresses one of them suffices: the others may be of networks that are down.
    """
    opened: list[Listener] = []
    missing: dict[Address, OSError] = {}
    for address in addresses:
        try:
            opened.append(host.open_listener(address.host, address.port))
        except OSError as error:
            missing[address] = error
    return opened, missing


async def close_all(resources: Iterable[trio.abc.AsyncResource]) -> None:
    """Close them at once.  All of them, also for a task that is cancelled: it would get no further than the first."""
    with trio.CancelScope(shield=True):
        for resource in resources:
            await trio.aclose_forcefully(resource)
    await trio.lowlevel.checkpoint_if_cancelled()
