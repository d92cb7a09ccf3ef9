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

from .complaints import Complaints
from .config_files import BesideSnapshots, ConfigFiles, Keeping, Nowhere
from .history import History
from .learner_sessions import LearnerSessions
from .members import Address, Members
from .reading import ReadOnly

__all__ = ["ClientSide", "Local", "ReplicaFactory"]

logger = logging.getLogger("pyzkserver.quorum")

_COUNTER = 0xFFFF_FFFF


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
        self.configured = members.get(sid)
        """What this member was started as; another configuration may be in force."""
        self._files: Keeping = Nowhere()
        self.members_changed: Callable[[], None] = _ignore
        """Called when another configuration has come into force."""
        self.complaints = Complaints(logger)
        """About what comes by the quorum port."""
        self.client_address_changed: Callable[[Address], None] = _ignore_address
        """Called when a configuration in force says that clients come to another place."""
        self.history = history
        self.clients = clients
        self.soon = soon
        """What calls a function when the batch of client requests at hand is through."""
        self._make_replica = new_replica
        self._sessions: SessionTable | None = None
        """Those of the last role."""
        if config.reconfig_enabled:
            self._recall_members()

    def _recall_members(self) -> None:
        config, store = self.config, self.history.store
        if config.config_file is None:
            kept = BesideSnapshots(store.disk, store.snapshots)
            self.members, self.seen = kept.recall(self.members)
            self._files = kept
            return
        self._files = ConfigFiles(config.config_file)
        if config.next_members:
            proposed = Members.parse(config.next_members)
            self.seen = max(self.members, proposed, key=lambda members: members.version)

    @property
    def observer(self) -> bool:
        """Whether this member only observes."""
        return self.sid in self.members.observing

    @property
    def client_address(self) -> Address | None:
        """Where clients of this member come to, as the configuration in force says; None where it says nothing."""
        own = self.members.get(self.sid)
        return own.client_address if own is not None else None

    @property
    def init_seconds(self) -> float:
        """How long a learner has to connect and to synchronize."""
        return self.config.init_limit * self.config.tick_time / 1000

    @property
    def sync_seconds(self) -> float:
        """How long a member may be silent, or owe an acknowledgement."""
        return self.config.sync_limit * self.config.tick_time / 1000

    def new_log(self, *, voting: bool) -> TransactionLog:
        """For a role that begins.  An observer may do without (``ObserverZooKeeperServer``: syncEnabled)."""
        history = self.history
        return history.start_log() if voting or self.config.sync_enabled else history.keep_no_log()

    def _new_replica(self, tree: DataTree, log: TransactionLog, sessions: type[SessionTable]) -> Replica:
        replica = self._make_replica(tree, log, sessions)
        if self._sessions is not None:
            # Local sessions are forgotten with the role, and the clock may have been set back.
            replica.sessions.not_before(self._sessions.next_id)
        self._sessions = replica.sessions
        return replica

    def new_replica(self, sessions: type[SessionTable], *, voting: bool = True) -> Replica:
        """The replica of a role that begins, over what this member holds."""
        history = self.history
        replica = self._new_replica(history.tree, self.new_log(voting=voting), sessions)
        history.recall_sessions(replica.sessions, self.host.elapsed_ms())
        history.taken_by(replica)
        return replica

    def new_reading_replica(self) -> Replica:
        """The replica of a member without a leader, which only reads what it holds."""
        replica = self._new_replica(self.history.tree, NullLog(), LearnerSessions)
        self.history.recall_sessions(replica.sessions, self.host.elapsed_ms())
        replica.take_role(ReadOnly(replica))
        return replica

    def new_replica_in_memory(
        self, sessions: type[SessionTable], tree: DataTree, timeouts: dict[int, int]
    ) -> Replica:
        """The replica of a learner that received a leader's tree, which is not on disk yet."""
        replica = self._new_replica(tree, NullLog(), sessions)
        replica.sessions.recover(timeouts, tree.ephemerals, self.host.elapsed_ms())
        return replica

    def see(self, members: Members) -> None:
        """A configuration was proposed, or announced by a leader.  It is not in force yet.

        Without reconfigEnabled each member goes by its own files (``setLastSeenQuorumVerifier``).
        """
        if members.version > self.seen.version and self.config.reconfig_enabled:
            self._see(members)

    def _see(self, members: Members) -> None:
        self.seen = members
        self._files.propose(members)

    def take_back(self, announced: Members) -> None:
        """Forget what was proposed here and is not in the history of a leader, which this member holds by now.

        The voters of that are not asked any more: ``seen`` may be an older one afterwards
        (``Learner.syncWithLeader``; ``setLastSeenQuorumVerifier`` complains, and takes it).
        """
        if announced.version < self.seen.version and self.config.reconfig_enabled:
            self._see(max(announced, self.members, key=lambda each: each.version))

    def forget_unlogged(self) -> None:
        """Between roles: a configuration that was proposed counts if this member's log has the proposal.

        Otherwise it ended between keeping the one and the other, and has acknowledged neither.  If it was decided
        all the same, then by those whose logs have it, and of a quorum of the old configuration one of those is
        elected, or nobody.  (One whose version is the beginning of an epoch is in no log.)
        """
        version = self.seen.version
        if version > self.members.version and version & _COUNTER and version > self.history.last_zxid:
            logger.warning(
                "the configuration 0x%x was about to be proposed, and is in no log: forgotten", version
            )
            self._see(self.members)

    def activate(self, members: Members) -> bool:
        """A configuration is decided (``QuorumPeer.processReconfig``).

        Returns whether this member's role is another one now, so that it has to connect anew.
        """
        if not self.config.reconfig_enabled or members.version <= self.members.version:
            return False
        observed, before = self.observer, self.members
        own = before.get(self.sid)
        if own is not None and own.client_address is not None and own.client_address_is_static:
            members = members.with_client_address(self.sid, own.client_address)
        self.members = members
        if members.version >= self.seen.version:
            self.seen = members
        self._files.decide(members, self.sid, last=self.seen is members)
        if not before.is_same_as(members):
            logger.info("the members are now %s", ", ".join(members.text.splitlines()))
            self.members_changed()
            # Behind what can fail, and whatever becomes of the role: clients that are connected stay.
            if self.client_address is not None:
                self.client_address_changed(self.client_address)
        return self.observer is not observed


def _ignore() -> None:
    pass


def _ignore_address(address: Address) -> None:
    pass
