"""The way of a client's writes through the replica, and of the reads that wait behind them.

How a write is judged and kept is said in ``replica``; here is that each is answered in its turn.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pyzkserver.errors import ErrorCode
from pyzkserver.replica.lane import Lane
from pyzkserver.replica.replica import Proposal
from pyzkserver.state.transaction import Applied
from pyzkserver.wire.requests import OPERATIONS, OpCode

from .outgoing import Outgoing
from .replies import write_reply
from .under_way import APIECE

if TYPE_CHECKING:
    from .quickwrites import Run
    from .service import Service

    R = TypeVar("R", bound=Run)

__all__ = ["Writing"]

_CREATE_SESSION = int(OpCode.CREATE_SESSION)
_CLOSE_SESSION = int(OpCode.CLOSE_SESSION)
_SYNC = int(OpCode.SYNC)

MOST_BYTES_UNDER_WAY = 2 << 20
"""Of one client's writes, each of which counts for ``APIECE`` more than its request.  They wait in memory, for the
log and for other members; so do those of all others (``under_way``)."""


class Writing(Outgoing):
    """A connection whose requests are answered in order.

    While ``paused`` (its session is being made or closed, or too much is under way) nothing more is taken in.
    """

    __slots__ = (
        "_batch_time",
        "_in_line",
        "_leaving",
        "bytes_under_way",
        "lane",
        "paused",
        "run",
        "ticket",
        "under_way",
    )

    def __init__(self, service: "Service", address: tuple[str, int], wake: Callable[[Any], None]) -> None:
        super().__init__(service, address, wake)
        self.lane = Lane()
        self.paused = False
        self.bytes_under_way = 0
        """Of the writes in the lane."""
        self.under_way = service.under_way
        """Those of all clients of the same replica."""
        self._in_line = False
        """There is no room among them for its next request."""
        self.ticket = 0
        self._leaving = False
        """The close of its session is on its way."""
        self._batch_time = 0
        """What the writes of the present batch are stamped with, once there is one."""
        self.run: Run | None = None
        """Quick writes that were accepted last, and to which more may come (``quickwrites``)."""

    def batch_time(self) -> int:
        """What the writes of the present batch are stamped with, in milliseconds since 1970."""
        if not self._batch_time:
            self._batch_time = self.service.host.wall_ms()
        return self._batch_time

    def begin_run(self, kind: "type[R]") -> "R | None":
        """Quick writes of another kind may follow; None where all must take the plain way."""
        self.end_run()
        replica, session = self.replica, self.session
        if not replica.quick_writes or session is None or session.closing:
            return None
        if replica.sessions.by_id.get(session.id) is not session or session.holder is not None:
            return None
        run = kind(self)  # type: ignore[arg-type]
        self.run = run
        return run

    def end_run(self) -> None:
        """Whatever comes next is none of the run's."""
        run, self.run = self.run, None
        if run is not None and run.changes:
            run.end()
            self.lane.writes += run.count - 1
            self._late += run.count
            run.size = size = sum(map(len, run.payloads)) + APIECE * run.count
            self.bytes_under_way += size
            self.under_way.begin(size)
            self.ticket = 0
            if self.bytes_under_way >= MOST_BYTES_UNDER_WAY:
                self.paused = True

    def run_committed(self, run: "Run") -> None:
        """All writes of a run are done and answered: now the reads that waited behind them."""
        self._done(run)
        if self.aborted:
            return
        self.sent += run.count
        self.service.statistics.sent += run.count
        if self.lane.writes:
            self._account_late(self.service.host.wall_ms() - run.time, run.count)
            self.lane.leave(run)
        if self.paused:
            self._take_in_again()
        if not self.attended:
            self._wake(self)

    def _submit(self, op: int, xid: int, request: Any, size: int = 0) -> None:
        proposal = Proposal(op, request, self.session_id, xid, self.identities, self)
        proposal.time = self.batch_time()
        replica = self.replica
        if replica.log.immediate:
            replica.role.submit(proposal)
            return
        self._late += 1
        self.lane.enter(proposal)
        proposal.size = size = size + APIECE
        self.bytes_under_way += size
        self.under_way.begin(size)
        self.ticket = 0
        # Nothing is taken in behind a close, which is decided although it may not be safe yet.
        if op == _CLOSE_SESSION:
            self.paused = self._leaving = True
        elif (
            self.lane.writes >= self.service.config.global_outstanding_limit
            or self.bytes_under_way >= MOST_BYTES_UNDER_WAY
        ):
            self.paused = True
        try:
            replica.role.submit(proposal)
        except BaseException:
            self._done(proposal)  # nobody else will say so
            raise

    def _done(self, proposal: Proposal) -> None:
        size, proposal.size = proposal.size, 0
        self.bytes_under_way -= size
        self.under_way.end(size)

    def _has_to_wait(self, op: int) -> bool:
        """Whether this request waits in line for room among the writes under way; then it is not to be taken in.

        Those who only read, or leave, need none.
        """
        if not self.under_way.full or op == _CLOSE_SESSION:
            return False
        operation = OPERATIONS.get(op)
        if operation is None or not (operation.write or (op == _SYNC and self.replica.role.asks_elsewhere)):
            return False
        self.paused = self._in_line = True
        self.under_way.wait(self)
        return True

    def go_on(self) -> None:
        """There is room again."""
        self._in_line = False
        if self.paused:
            self._take_in_again()

    def _take_in_again(self) -> None:
        """Unless something else is in the way."""
        if self.bytes_under_way < MOST_BYTES_UNDER_WAY and not self._in_line and not self._leaving:
            self.paused = False
            self._wake(self)

    def _in_turn(self, read: Callable[[], None]) -> None:
        """Do it now, or when the client's writes before it are done."""
        if self.lane:
            self._late += 1
            asked = self.service.host.elapsed_ms()

            def late() -> None:
                if not self.closing:
                    read()
                self._account_late(self.service.host.elapsed_ms() - asked)

            self.lane.wait(late)
            if len(self.lane) >= self.service.config.global_outstanding_limit:
                self.paused = True
        else:
            read()

    def committed(self, proposal: Proposal, applied: Applied) -> None:
        """A write of this connection's is done: answer it, and the reads that waited behind it."""
        if size := proposal.size:
            # Also if the connection is gone: it was in memory, and perhaps on its way to others, until now.
            proposal.size = 0
            self.bytes_under_way -= size
            self.under_way.end(size)
        if self.aborted:
            return
        if (applied.err or applied.parts is not None) and _has_moved(applied):
            # The client is connected to another member, and this connection is forgotten: an answer could only
            # mislead it (ZOOKEEPER-710).
            self.session_ended()
            return
        if applied.err:
            if proposal.op == _CLOSE_SESSION:
                self._leaving = False
            self._reply(proposal.cxid, applied.err)
        elif proposal.op == _CREATE_SESSION:
            self._welcome(valid=True)
            self._account_session(proposal.cxid)
        else:
            self._append(write_reply(applied, proposal.cxid, self.replica.tree.last_zxid))
            if proposal.op == _CLOSE_SESSION:
                self.closing = True
                self._detach()
        if self.lane.writes:
            if proposal.op != _CREATE_SESSION:  # which was accounted above
                self._account_late(self.service.host.wall_ms() - proposal.time)
            self.lane.leave(proposal)
        if self.paused:
            self._take_in_again()


def _has_moved(applied: Applied) -> bool:
    """Whether it was refused for that, or an operation of it was (``FinalRequestProcessor``)."""
    return applied.err == ErrorCode.SESSION_MOVED or any(map(_has_moved, applied.parts or ()))
