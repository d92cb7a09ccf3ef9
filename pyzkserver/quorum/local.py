"""This member as its roles see it: who it is, what it holds, and who serves its clients."""

import logging
from collections.abc import Callable
from typing import Protocol

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.replica.replica import Replica
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.txnlog import NullLog, TransactionLog

from .history import History
from .members import Members

__all__ = ["ClientSide", "Local", "ReplicaFactory"]

logger = logging.getLogger("pyzkserver.quorum")


class ClientSide(Protocol):
    """What serves this member's clients while it has a role."""

    def start_serving(self, replica: Replica) -> None: ...

    def stop_serving(self) -> None: ...


class ReplicaFactory(Protocol):
    """Makes the replica of a role."""

    def __call__(self, tree: DataTree, log: TransactionLog, sessions: type[SessionTable]) -> Replica: ...


class Local:
    """``members`` is the configuration in force, ``seen`` the last that was proposed or announced."""

    def __init__(
        self,
        sid: int,
        config: Config,
        host: Host,
        members: Members,
        history: History,
        new_replica: ReplicaFactory,
        clients: ClientSide,
        soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self.sid = sid
        self.config = config
        self.host = host
        self.members = self.seen = members
        self.history = history
        self.clients = clients
        self.soon = soon
        """What calls a function when the batch of client requests at hand is through."""
        self._new_replica = new_replica

    @property
    def observer(self) -> bool:
        """Whether this member only observes."""
        return self.sid not in self.members.voting

    @property
    def init_seconds(self) -> float:
        """How long a learner has to connect and to synchronize."""
        return self.config.init_limit * self.config.tick_time / 1000

    @property
    def sync_seconds(self) -> float:
        """How long a member may be silent, or owe an acknowledgement."""
        return self.config.sync_limit * self.config.tick_time / 1000

    def new_replica(self, sessions: type[SessionTable]) -> Replica:
        """The replica of a role that begins, over what this member holds."""
        history = self.history
        replica = self._new_replica(history.tree, history.start_log(), sessions)
        history.recall_sessions(replica.sessions, self.host.elapsed_ms())
        history.taken_by(replica)
        return replica

    def new_replica_in_memory(
        self, sessions: type[SessionTable], tree: DataTree, timeouts: dict[int, int]
    ) -> Replica:
        """The replica of a learner that received a leader's tree, which is not on disk yet."""
        replica = self._new_replica(tree, NullLog(), sessions)
        replica.sessions.recover(timeouts, tree.ephemerals, self.host.elapsed_ms())
        return replica

    def see(self, members: Members) -> None:
        """A configuration was proposed, or announced by a leader.  It is not in force yet."""
        if members.version >= self.seen.version:
            self.seen = members

    def activate(self, members: Members) -> None:
        """A configuration is decided.  Without reconfigEnabled each member goes by its own files
        (``QuorumPeer.processReconfig``)."""
        if self.config.reconfig_enabled and members.version > self.members.version:
            self.members = members
