"""One replica: submit and commit.  The whole path of a write is on this page.

    submit → role.submit → prepare → log.append → (durable) → commit → tree.apply → events, then the reply

Plain synchronous calls: nothing here waits.  Reads do not come here; see ``state.queries`` and ``lane``.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.host import Host
from pyzkserver.state.acl import Identity
from pyzkserver.state.judging import Rules
from pyzkserver.state.pending import Pending
from pyzkserver.state.prepare import Preparer
from pyzkserver.state.queries import Queries
from pyzkserver.state.sessions import SessionTable, first_session_id
from pyzkserver.state.transaction import Applied, Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.txnlog import NullLog, TransactionLog
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import ErrorTxn

from .role import Role

__all__ = ["Origin", "Proposal", "Replica"]

logger = logging.getLogger("pyzkserver.replica")

_ERROR = int(OpCode.ERROR)
_CREATE_SESSION = int(OpCode.CREATE_SESSION)
_CLOSE_SESSION = int(OpCode.CLOSE_SESSION)


class Origin(Protocol):
    """Who asked for a write, and is to be answered: a connection."""

    def committed(self, proposal: "Proposal", applied: Applied) -> None:
        """The write is decided and applied, or refused; ``applied`` says which."""


class Proposal:
    """A write on its way."""

    __slots__ = (
        "cxid",
        "digest",
        "holder",
        "identities",
        "op",
        "origin",
        "payload",
        "request",
        "session_id",
        "size",
        "time",
        "txn",
        "zxid",
    )

    def __init__(
        self,
        op: int,
        request: Any,
        session_id: int,
        cxid: int = 0,
        identities: Sequence[Identity] = (),
        origin: Origin | None = None,
        holder: object = None,
    ) -> None:
        self.op = op
        self.request = request
        self.session_id = session_id
        self.size = 0
        """Bytes of the request that count as under way, for whoever counts them."""
        self.cxid = cxid
        self.identities = identities
        self.origin = origin
        self.holder = holder
        """The learner that it came through, or None."""
        self.payload = b""
        """The transaction as the log and other members have it, where there are any."""
        self.txn: Transaction | None = None
        self.zxid = 0
        """Its place in the order of all writes, once it was judged."""
        self.digest: int | None = None
        """The tree's, after it, where that was counted."""
        self.time = 0
        """When that was, in milliseconds since 1970."""

    @property
    def count(self) -> int:
        """How many writes it is."""
        return 1

    def commit(self, replica: "Replica") -> None:
        """It is decided."""
        replica.commit(self)


class _NoRole:
    """Of a replica that nobody told yet what it is."""

    mode = "none"
    asks_elsewhere = read_only = opens_local_sessions = False

    def gauges(self) -> Mapping[str, int]:
        return {}

    def reset_statistics(self) -> None:
        pass

    def submit(self, proposal: Proposal) -> None:
        raise RuntimeError("this replica has no role yet")

    def durable(self, zxid: int) -> None:
        raise RuntimeError("this replica has no role yet")

    def resume(self, session_id: int, timeout: int, answer: Callable[[bool], None]) -> None:
        raise RuntimeError("this replica has no role yet")


class Replica:
    """The state of one member, and the path of the writes through it.

    ``in_flight`` are the proposals between ``propose`` and ``commit``, in order of zxid; their zxids lie
    above ``tree.last_zxid`` and up to ``last_proposed``.
    """

    def __init__(
        self,
        tree: DataTree,
        rules: Rules,
        log: TransactionLog,
        host: Host,
        *,
        tick_time: int,
        server_id: int,
        sessions: type[SessionTable] = SessionTable,
    ) -> None:
        self.tree = tree
        self.log = log
        self.host = host
        self.sessions = sessions(tick_time, first_session_id(server_id, host.wall_ms()))
        self.pending = Pending(tree)
        self.preparer = Preparer(self.pending, self.sessions, rules)
        self.queries = Queries(tree, rules.access)
        self.access = rules.access
        self.last_proposed = tree.last_zxid
        self.in_flight: deque[Proposal] = deque()
        self.role: Role = _NoRole()
        self.quick_writes = False
        """Whether a client's writes may be entered here by its connection (``serving.quickwrites``)."""
        self.at_once = False
        """Whether they may be applied by it: nothing is kept, and nobody else is asked (``serving.atonce``)."""

    def take_role(self, role: Role) -> None:
        """From now on this role decides."""
        self.role = role
        self.log.durable = role.durable
        # That takes a role that does nothing but log them, and a tree that has others count its digest.
        self.quick_writes = (
            getattr(role, "decides_alone", False)
            and not self.log.immediate
            and not self.preparer.rules.enforce_quota
            and self.tree.digest.touched is None
        )
        self.at_once = (
            getattr(role, "decides_alone", False)
            and isinstance(self.log, NullLog)
            and not self.preparer.rules.enforce_quota
        )

    def submit(self, proposal: Proposal) -> None:
        """Ask for a write.  Its origin hears of the outcome, possibly before this returns."""
        self.role.submit(proposal)

    def prepare(self, proposal: Proposal) -> Transaction:
        """Judge a request and give it its zxid.  One that is refused is a transaction as well: an error."""
        zxid = proposal.zxid = self.last_proposed = self.last_proposed + 1
        time = proposal.time = proposal.time or self.host.wall_ms()
        op = proposal.op
        body: Any
        try:
            body = self.preparer.prepare(op, proposal.request, proposal)
        except ZooKeeperError as error:
            op, body = _ERROR, ErrorTxn(int(error.code))
        except Exception:
            # A request that this code trips over costs its client an error, and nobody else anything.
            logger.exception("a request of session 0x%x could not be judged", proposal.session_id)
            op, body = _ERROR, ErrorTxn(int(ErrorCode.SYSTEM_ERROR))
            self.pending.withdraw(zxid)
        txn = proposal.txn = Transaction(proposal.session_id, proposal.cxid, zxid, time, op, body)
        return txn

    def propose(self, proposal: Proposal, *, count: bool = True) -> None:
        """What this write will change counts for all that are judged after it.

        ``count``: the tree's digest after it is wanted.  To count it costs about 1 µs for each changed node.
        """
        assert proposal.txn is not None
        self.pending.propose(proposal.txn)
        if count:
            proposal.digest = self.pending.count()
        self.in_flight.append(proposal)

    def commit_up_to(self, zxid: int) -> None:
        """Commit everything in flight up to ``zxid``."""
        in_flight = self.in_flight
        while in_flight and in_flight[0].zxid <= zxid:
            in_flight.popleft().commit(self)

    def commit(self, proposal: Proposal) -> None:
        """Apply a decided transaction, and answer.  Watchers hear of it before its origin does."""
        txn = proposal.txn
        assert txn is not None
        session = None
        if proposal.digest is not None:
            self.tree.digest.carry(proposal.digest)
        if txn.op == _CREATE_SESSION:
            self._session_created(txn)
        elif txn.op == _CLOSE_SESSION:
            session = self.sessions.remove(txn.session_id)
        applied = self.tree.apply(txn)
        if self.pending.latest:
            self.pending.applied(txn.zxid)
        if proposal.origin is not None:
            proposal.origin.committed(proposal, applied)
        if session is not None and session.owner is not None:
            # Closed by somebody else: by its time, or by another.  (Its own connection let go of it above.)
            session.owner.session_ended()

    def _session_created(self, txn: Transaction) -> None:
        timeout: int = txn.body.time_out  # type: ignore[union-attr]
        session = self.sessions.by_id.get(txn.session_id)
        if session is None:
            self.sessions.track(txn.session_id, timeout, self.host.elapsed_ms())
        else:
            if session.local:
                self.sessions.make_global(session)
            session.upgrading = False
