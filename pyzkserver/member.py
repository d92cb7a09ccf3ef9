"""A member of an ensemble, wired together: its history, its life as a peer, and what serves its clients."""

import logging
from collections.abc import Callable

import trio

from .config import Config
from .host import Host
from .quorum.history import History
from .quorum.local import Local
from .quorum.members import Address, Members
from .quorum.peer import Peer
from .replica.replica import Replica
from .serving.admission import Admission
from .serving.epoll_plane import EpollPlane
from .serving.moving import MovablePort
from .serving.port import data_plane
from .serving.service import Service
from .state.sessions import SessionTable
from .state.tree import DataTree
from .storage.store import Store
from .storage.txnlog import TransactionLog

__all__ = ["serve_member"]

logger = logging.getLogger("pyzkserver.server")

Soon = Callable[[Callable[[], None]], None]


async def serve_member(
    service: Service,
    new_tree: Callable[[Config], DataTree],
    new_replica: Callable[[Config, Host, DataTree, TransactionLog, type[SessionTable]], Replica],
    *,
    task_status: trio.TaskStatus[Peer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be a member until cancelled.  Ready when clients can connect, though there may be no leader yet."""
    config, host = service.config, service.host
    store = Store(config, host, host.memory)
    history = History(store, config, lambda: new_tree(config))
    history.open()
    try:

        def replica_of_role(tree: DataTree, log: TransactionLog, sessions: type[SessionTable]) -> Replica:
            if isinstance(plane, EpollPlane) and local.soon != plane.soon and store.log is not None:
                # The log goes on in the plane's rhythm; and so does what is sent to other members.
                # Other members wait for this one, however few clients it has: it is never alone.
                store.join_data_plane(plane.soon, plane.signaller, lambda: False)
                local.soon = plane.soon
            return new_replica(config, host, tree, log, sessions)

        local = Local(
            config.server_id,
            config,
            host,
            _members(config),
            history,
            replica_of_role,
            service,
            trio.lowlevel.current_trio_token().run_sync_soon,
        )
        with MovablePort(service, local.client_address) as port:
            plane = data_plane(service, Admission(config))
            local.client_address_changed = port.move
            peer = Peer(local)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(port.serve, plane)
                await nursery.start(peer.run)
                task_status.started(peer)
    finally:
        store.close()


def _members(config: Config) -> Members:
    members = Members(config.membership)
    address = Address(config.client_port_address, config.client_port)
    return members.with_client_address(config.server_id, address)
