"""A standalone server: the only place that wires the parts together.

What only a server with a data directory needs is imported when there is one.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from .config import Config
from .host import Host
from .replica import upkeep
from .replica.replica import Replica
from .replica.standalone import Standalone
from .serving.admission import Admission
from .serving.epoll_plane import EpollPlane
from .serving.port import data_plane, listen
from .serving.service import Service
from .state.acl import AccessRules
from .state.judging import Rules
from .state.sessions import SessionTable
from .state.tree import DataTree
from .state.watches import Watches
from .storage.txnlog import NullLog, TransactionLog

if TYPE_CHECKING:
    from .quorum.peer import Peer
    from .storage.recovery import Recovered
    from .storage.store import Store

__all__ = ["RunningServer", "build_replica", "new_tree", "recovered_replica", "serve"]

logger = logging.getLogger("pyzkserver.server")


class RunningServer:
    """A server that is ready.  What ``nursery.start(serve, config)`` returns."""

    def __init__(self, config: Config, service: Service, peer: "Peer | None" = None) -> None:
        self.config = config
        self.service = service
        self.peer = peer
        """Of a member of an ensemble: its life among the others."""

    def __repr__(self) -> str:
        return f"<RunningServer {self.hosts}>"

    @property
    def replica(self) -> Replica:
        """What it holds.  Raises RuntimeError for a member of an ensemble that has no leader."""
        return self.service.replica

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.service.port

    @property
    def hosts(self) -> str:
        """The connect string: what ``KazooClient(hosts)`` and ``zkCli -server`` take."""
        address = self.service.address
        if address in ("0.0.0.0", ""):
            address = "127.0.0.1"
        elif address == "::":
            address = "::1"
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"

    def statistics(self) -> dict[str, int]:
        """A few numbers for people and tests."""
        tree = self.replica.tree
        return {
            "connections": len(self.service.connections),
            "sessions": len(self.replica.sessions),
            "znodes": len(tree.nodes) - 1,  # the root stands there twice
            "watches": len(tree.watches),
            "ephemerals": tree.ephemeral_count(),
            "last_zxid": tree.last_zxid,
            "packets_received": self.service.statistics.received,
            "packets_sent": self.service.statistics.sent,
        }


def new_tree(config: Config) -> DataTree:
    """An empty tree, with everything that is configured of it."""
    # In memory nobody sees a digest but other members and the word hash, and they cost a write about 1 µs.
    wanted = config.data_dir is not None or config.is_distributed or "hash" in config.four_letter_words
    return DataTree(
        Watches(config.max_watches_per_connection),
        extended_types=config.extended_types_enabled,
        digest_enabled=config.digest_enabled and wanted,
    )


def bare_replica(
    config: Config,
    host: Host,
    tree: DataTree,
    log: TransactionLog,
    sessions: type[SessionTable] = SessionTable,
) -> Replica:
    """A replica that has no role yet."""
    access = AccessRules(
        skip=config.skip_acl,
        super_digest=config.super_digest,
        digest_algorithm=config.digest_hashlib_name,
        digest_enabled=config.digest_authentication,
    )
    rules = Rules(
        access,
        extended_types=config.extended_types_enabled,
        enforce_quota=config.enforce_quota,
        close_session_txn=config.close_session_txn_enabled,
        reconfig_enabled=config.reconfig_enabled,
        ensemble=config.is_distributed,
        local_sessions=config.local_sessions_enabled and config.is_distributed,
    )
    return Replica(
        tree,
        rules,
        log,
        host,
        tick_time=config.tick_time,
        server_id=config.server_id,
        sessions=sessions,
    )


def build_replica(
    config: Config, host: Host, tree: DataTree | None = None, log: TransactionLog | None = None
) -> Replica:
    """A standalone server's replica: of this tree and log, or empty and in memory."""
    replica = bare_replica(config, host, new_tree(config) if tree is None else tree, log or NullLog())
    if config.digest_enabled and not replica.log.immediate:
        replica.pending.keep_digest()
    replica.take_role(Standalone(replica))
    return replica


def recovered_replica(config: Config, host: Host, store: "Store", recovered: "Recovered") -> Replica:
    """The replica that goes on where a data directory ends."""
    log = store.start_log(recovered.tree.last_zxid)
    replica = build_replica(config, host, recovered.tree, log)
    newest_ms = max((entry.txn.time for entry in recovered.recent), default=0)
    replica.sessions.recover(recovered.sessions, recovered.tree.ephemerals, host.elapsed_ms(), newest_ms)
    return replica


async def serve(
    config: Config | None = None,
    *,
    host: Host | None = None,
    service_type: Callable[[Config, Replica | None, Host], Service] = Service,
    task_status: trio.TaskStatus[RunningServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a server until cancelled.

    ``await nursery.start(serve, config)`` returns a RunningServer once clients are really served.  Raises
    PortUnavailable where the client port cannot be had, DataDirectoryError where the data directory cannot be
    used, StorageFailed when the disk refuses to keep a transaction, and RuntimeError outside a Trio loop.
    """
    _check_loop()
    config = config or Config()
    host = host or Host()
    for note in config.notes:
        logger.info("%s", note)
    if config.is_distributed:
        await _serve_member(service_type(config, None, host), task_status)
        return
    if config.data_dir is None:
        service = service_type(config, build_replica(config, host), host)
        await _serve(service, None, task_status)
        return
    from .storage.store import Store

    store = Store(config, host)
    recovered = store.open(lambda: new_tree(config))
    try:
        replica = recovered_replica(config, host, store, recovered)
        await _serve(service_type(config, replica, host), store, task_status)
    finally:
        store.close()


def _check_loop() -> None:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise RuntimeError(
            "serve() runs in a Trio loop; asyncio, and code without a loop, takes pyzkserver.Server()"
        ) from None


async def _serve_member(service: Service, task_status: trio.TaskStatus[RunningServer]) -> None:
    from .member import serve_member

    async with trio.open_nursery() as nursery:
        peer = await nursery.start(serve_member, service, new_tree, bare_replica)
        task_status.started(RunningServer(service.config, service, peer))


async def _serve(
    service: Service, store: "Store | None", task_status: trio.TaskStatus[RunningServer]
) -> None:
    config, replica = service.config, service.replica
    listener = listen(service.host, config, config.client_port_address, config.client_port)
    with listener:
        service.port = listener.getsockname()[1]
        async with trio.open_nursery() as nursery:
            plane = data_plane(service, Admission(config))
            if store is not None and isinstance(plane, EpollPlane):
                store.join_data_plane(plane.soon, plane.signaller, lambda: len(service.connections) < 2)
                plane.expecting = store.flushing
            nursery.start_soon(plane.run, listener)
            nursery.start_soon(_keep, service)
            if store is not None:
                nursery.start_soon(store.run, replica.tree, replica.sessions)
            task_status.started(RunningServer(config, service))


async def _keep(service: Service) -> None:
    config = service.config
    await upkeep.keep(
        service.replica,
        service.host,
        interval_ms=config.container_check_interval_ms,
        max_per_minute=config.container_max_per_minute,
        max_never_used_ms=config.container_max_never_used_interval_ms,
    )
