"""What a server does of its own accord: expire sessions, delete emptied containers and overdue TTL nodes."""

import logging

import trio

from pyzkserver.host import Host
from pyzkserver.state.node import ttl_of
from pyzkserver.wire.requests import DeleteContainerRequest, OpCode

from .replica import Origin, Proposal, Replica

__all__ = ["container_candidates", "expire_sessions", "keep", "keep_sessions"]

logger = logging.getLogger("pyzkserver.upkeep")


async def keep_sessions(replica: Replica, host: Host) -> None:
    """Expire sessions, for ever.  They expire at whole ticks, so that is when to look."""
    tick = replica.sessions.tick
    while True:
        await host.sleep((tick - host.elapsed_ms() % tick) / 1000)
        expire_sessions(replica, host.elapsed_ms())


def expire_sessions(replica: Replica, now: int, origin: Origin | None = None) -> int:
    """Close the sessions whose time is up at ``now`` (elapsed milliseconds).  Returns how many closes were asked for.

    ``origin`` hears of each close when it is done.
    """
    closes = 0
    for session in replica.sessions.take_expired(now):
        logger.info("session %r expires: nothing was heard of it for %d ms", session, session.timeout)
        if session.local:
            # Nobody else knows it, and it has no nodes.
            replica.sessions.remove(session.id)
            if session.owner is not None:
                session.owner.session_ended()
            continue
        closes += 1
        replica.submit(Proposal(OpCode.CLOSE_SESSION, None, session.id, origin=origin))
    return closes


async def _keep_containers(
    replica: Replica, host: Host, *, interval_ms: int, max_per_minute: int, max_never_used_ms: int
) -> None:
    """Delete what may go, every ``interval_ms``, ``max_per_minute`` at most (``ContainerManager``)."""
    pause = 60 / max_per_minute
    while True:
        await host.sleep(interval_ms / 1000)
        for path in container_candidates(replica, host.wall_ms(), max_never_used_ms):
            # Judged once more as a request: it may have got a child meanwhile.
            replica.submit(Proposal(OpCode.DELETE_CONTAINER, DeleteContainerRequest(path), 0))
            await host.sleep(pause)


def container_candidates(replica: Replica, wall_ms: int, max_never_used_ms: int) -> list[str]:
    """Containers that were emptied (or never filled for too long), and TTL nodes whose time is up."""
    nodes = replica.tree.nodes
    candidates = []
    for path in replica.tree.containers:
        node = nodes[path]
        if not node.children:
            unused_too_long = 0 < max_never_used_ms < wall_ms - node.mtime
            # One that never had a child stays: whoever created it may be about to fill it.
            if node.cversion > 0 or unused_too_long:
                candidates.append(path)
    for path in replica.tree.ttl_nodes:
        node = nodes[path]
        if not node.children and wall_ms - node.mtime > ttl_of(node.ephemeral_owner):
            candidates.append(path)
    return candidates


async def keep(
    replica: Replica, host: Host, *, interval_ms: int, max_per_minute: int, max_never_used_ms: int
) -> None:
    """All upkeep, for ever."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_sessions, replica, host)
        await _keep_containers(
            replica,
            host,
            interval_ms=interval_ms,
            max_per_minute=max_per_minute,
            max_never_used_ms=max_never_used_ms,
        )
