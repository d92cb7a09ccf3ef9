"""One life of a member: the product's own parts, wired as its server wires them, but for the sockets."""

from typing import TYPE_CHECKING

import trio

from pyzkserver.quorum.history import History
from pyzkserver.quorum.local import Local
from pyzkserver.quorum.peer import Peer
from pyzkserver.replica.replica import Replica
from pyzkserver.server import new_tree
from pyzkserver.serving.service import Service
from pyzkserver.state.acl import AccessRules
from pyzkserver.state.judging import Rules
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.store import Store
from pyzkserver.storage.txnlog import TransactionLog
from pyzkserver.wire.election import ServerState

from .addresses import CLIENT_PORT
from .host import SimHost
from .port import serve_clients
from .server import settings

if TYPE_CHECKING:
    from .member import SimMember

__all__ = ["Running"]


class Running:
    """``run`` raises what ends a server: DataDirectoryError, StorageFailed, PowerFailure, in groups."""

    def __init__(self, member: "SimMember", host: SimHost) -> None:
        self.host = host
        self.sid = member.sid
        self.config = settings(**member.world.config, server_id=member.sid)
        # Less than the least that may be configured: a short world shall have learners that lack more than that.
        object.__setattr__(self.config, "commit_log_count", member.world.commit_log_count)
        self.members = member.world.configuration
        self.store: Store | None = None
        self.peer: Peer | None = None
        self.service: Service | None = None

    async def run(self) -> None:
        """Recover, elect, lead or follow, for ever."""
        config, host = self.config, self.host
        soon = host.machine.network.soon
        self.store = store = Store(config, host)
        store._soon = soon
        history = History(store, config, lambda: new_tree(config))
        history.open()
        self.service = service = Service(config, None, host)
        local = Local(self.sid, config, host, self.members, history, self._new_replica, service, soon)
        self.peer = Peer(local)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_clients, service, host, CLIENT_PORT)
            nursery.start_soon(self.peer.run)

    def _new_replica(self, tree: DataTree, log: TransactionLog, sessions: type[SessionTable]) -> Replica:
        config = self.config
        access = AccessRules(skip=config.skip_acl)
        rules = Rules(
            access,
            extended_types=True,
            reconfig_enabled=config.reconfig_enabled,
            ensemble=True,
            local_sessions=config.local_sessions_enabled,
        )
        return Replica(
            tree,
            rules,
            log,
            self.host,
            tick_time=self.config.tick_time,
            server_id=self.sid,
            sessions=sessions,
        )

    @property
    def tree(self) -> DataTree | None:
        """What clients are shown, or would be by a leader that serves none; None while there is no ensemble."""
        service, leader = self.service, self.peer.leader if self.peer is not None else None
        if service is not None and service.serving:
            return service.replica.tree
        return self.held if leader is not None and leader.established.is_set() else None

    @property
    def held(self) -> DataTree | None:
        """What all roles work on."""
        return self.peer.local.history.tree if self.peer is not None else None

    @property
    def leads(self) -> bool:
        return self.peer is not None and self.peer.state is ServerState.LEADING

    @property
    def epoch(self) -> int:
        """That of the leader whom it follows, or is."""
        return self.peer.vote.peer_epoch if self.peer is not None else -1

    def abandon(self) -> None:
        """It ends without a chance to do anything."""
        for worker in self.host.workers.values():
            worker.abandon()

    def stopped(self) -> None:
        """It was asked to end, and has time to close its files."""
        if self.store is not None:
            self.store.close()
