"""Sessions: who has one, how long each may stay silent, and whose time is up.

Times are milliseconds of a clock that only goes forward; the caller brings them.  Expiry is rounded up to
whole ticks, as Apache's ``ExpiryQueue`` does it, so that a touch rarely changes anything.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from sortedcontainers import SortedDict

from .node import CONTAINER_OWNER

__all__ = [
    "ANYBODY",
    "Session",
    "SessionOwner",
    "SessionTable",
    "first_session_id",
    "session_password",
    "to_signed",
]

ANYBODY = object()
"""The holder of a session that has not been heard of since this member leads: whoever speaks for it first."""

_SUPER_SECRET = 0xB3415C00  # ZooKeeperServer.superSecret


def to_signed(value: int) -> int:
    """The low 64 bits as Java's long."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


def session_password(session_id: int) -> bytes:
    """The 16 bytes that prove ownership of a session (``ZooKeeperServer.generatePasswd``).

    They follow from the id alone, so that every member of an ensemble can verify them: Java's
    ``new Random(id ^ superSecret).nextBytes``.
    """
    seed = (session_id ^ _SUPER_SECRET ^ 0x5DEECE66D) & ((1 << 48) - 1)
    password = b""
    while len(password) < 16:
        seed = (seed * 0x5DEECE66D + 0xB) & ((1 << 48) - 1)
        password += (seed >> 16).to_bytes(4, "little")
    return password


def first_session_id(server_id: int, now_ms: int) -> int:
    """Where a server starts to count (``SessionTrackerImpl.initializeNextSessionId``)."""
    low = ((now_ms << 24) & 0xFFFF_FFFF_FFFF_FFFF) >> 8
    first = to_signed(low | server_id << 56)
    return first + 1 if first == CONTAINER_OWNER else first


def _following(session_id: int) -> int:
    """The next id of the same server: after the last comes the first."""
    return to_signed(session_id >> 56 << 56 | session_id + 1 & (1 << 56) - 1)


class SessionOwner(Protocol):
    """The connection that a session is attached to."""

    def session_ended(self) -> None:
        """The session expired, or was closed by another: close without a message."""


class Session:
    """One client's session."""

    __slots__ = ("closing", "deadline", "holder", "id", "local", "owner", "timeout", "upgrading")

    def __init__(self, session_id: int, timeout: int) -> None:
        self.id = session_id
        self.timeout = timeout
        """How long it may stay silent, in milliseconds."""
        self.closing = False
        """Its close is under way: nothing more is accepted from it."""
        self.deadline = 0
        """The tick at whose end it expires: its key in the table of deadlines."""
        self.owner: SessionOwner | None = None
        """The connection that it is attached to at the moment, if any."""
        self.holder: object = None
        """Of a leader's: the learner that its client is connected to, None for the leader itself.

        Whoever else writes in its name has not heard yet that the session has moved.
        """

        self.local = False
        """Only this member knows it: no transaction tells of it (localSessionsEnabled, read-only mode)."""
        self.upgrading = False
        """It was a local one, and the transaction that tells of it is not decided: it may never be."""

    def __repr__(self) -> str:
        return f"0x{self.id & 0xFFFF_FFFF_FFFF_FFFF:x}"


class SessionTable:
    """All sessions.  Each one is in ``by_id`` and in exactly one bucket of ``deadlines``."""

    def __init__(self, tick: int, next_id: int) -> None:
        self.tick = tick
        self.next_id = next_id
        self.by_id: dict[int, Session] = {}
        self.expired = 0
        """How many ever expired."""
        self.deadlines: SortedDict[int, dict[Session, None]] = SortedDict()
        self.kept_waiting: Callable[[], Iterable[Session]] = _nobodys
        """Those whose clients are not read from at the moment, for this server has enough of them to do."""

    def __len__(self) -> int:
        return len(self.by_id)

    def new_id(self) -> int:
        """An id that no session has, and none had as far as this table knows.

        Whoever knows an id knows its password: a client that comes back for a session which ended long ago must
        not find somebody else's.
        """
        new = self.next_id
        while new in self.by_id or new == CONTAINER_OWNER:
            new = _following(new)
        self.next_id = _following(new)
        return new

    def not_before(self, session_id: int) -> None:
        """From now on give out none of this server's ids below that one, which an earlier session may have had."""
        if session_id >> 56 == self.next_id >> 56 and session_id > self.next_id:
            self.next_id = session_id

    def track(self, session_id: int, timeout: int, now: int) -> Session:
        """Know a session, from now on or already."""
        session = self.by_id.get(session_id)
        if session is None:
            session = self.by_id[session_id] = Session(session_id, timeout)
            if session_id >= self.next_id:
                self.not_before(_following(session_id))
        self.touch(session, now)
        return session

    def recover(
        self, timeouts: Mapping[int, int], owners: Iterable[int], now: int, newest_ms: int = 0
    ) -> None:
        """Know the sessions of a data directory, from now on, and close those that only left nodes behind.

        ``owners`` are the sessions that have ephemeral nodes (``ZooKeeperServer.loadData``).  ``newest_ms`` is when
        the last transaction was made, as far as that is known: where the clock was set back since, the sessions
        that ended have ids up to then.
        """
        for session_id, timeout in timeouts.items():
            self.track(session_id, timeout, now)
        for session_id in owners:
            # Of 0xff are TTL nodes, if a server runs now that takes them for something else.
            if session_id not in timeouts and session_id >> 56 != -1:
                self.track(session_id, 0, now).closing = True
        if newest_ms:
            self.not_before(first_session_id(self.next_id >> 56, newest_ms + 1))

    def revive(self, session_id: int, timeout: int, now: int) -> bool:
        """A client comes back for its session; False if it is too late."""
        session = self.by_id.get(session_id)
        if session is None or session.closing:
            return False
        session.timeout = timeout
        self.touch(session, now)
        return True

    def timeouts(self) -> dict[int, int]:
        """What a snapshot keeps of them: timeouts in milliseconds, by session."""
        return {
            session.id: session.timeout
            for session in self.by_id.values()
            if not (session.local or session.upgrading)
        }

    def is_of_another(self, session_id: int) -> bool:
        """Whether another member gave this id to a session."""
        return session_id >> 56 != self.next_id >> 56

    def make_global(self, session: Session) -> None:
        """A session is about to be told to all members (``UpgradeableSessionTracker.upgradeSession``)."""
        session.local, session.upgrading = False, True

    def strike(self, session: Session) -> None:
        """Its time is not counted here any more."""
        self._leave_bucket(session)
        session.deadline = 0

    def touch(self, session: Session, now: int) -> None:
        """The client was heard of."""
        deadline = (now + session.timeout) // self.tick + 1
        if deadline == session.deadline:
            return
        self._leave_bucket(session)
        session.deadline = deadline
        bucket = self.deadlines.get(deadline)
        if bucket is None:
            bucket = self.deadlines[deadline] = {}
        bucket[session] = None

    def _leave_bucket(self, session: Session) -> None:
        bucket = self.deadlines.get(session.deadline)
        if bucket is not None:
            bucket.pop(session, None)
            if not bucket:
                del self.deadlines[session.deadline]

    def remove(self, session_id: int) -> Session | None:
        """Forget a session."""
        session = self.by_id.pop(session_id, None)
        if session is not None:
            self._leave_bucket(session)
        return session

    def take_expired(self, now: int) -> list[Session]:
        """The sessions whose time is up, each of them once: they are marked as closing.

        Whoever is kept waiting by this server cannot be heard of: its time does not go on.
        """
        expired: list[Session] = []
        if self.deadlines and self.deadlines.peekitem(0)[0] * self.tick <= now:
            for session in self.kept_waiting():
                if session.deadline:  # else its time is not counted here, or is up already
                    self.touch(session, now)
        while self.deadlines and self.deadlines.peekitem(0)[0] * self.tick <= now:
            _, bucket = self.deadlines.popitem(0)
            for session in bucket:
                session.deadline = 0
                session.closing = True
                expired.append(session)
        self.expired += len(expired)
        return expired

    def expire(self, session: Session) -> None:
        """This one's time is up, whatever its deadline says: what ``take_expired`` does to it."""
        self._leave_bucket(session)
        session.deadline = 0
        session.closing = True
        self.expired += 1

    def next_expiry(self) -> int | None:
        """When the next session could expire, in milliseconds, or None without sessions."""
        return int(self.deadlines.peekitem(0)[0]) * self.tick if self.deadlines else None


def _nobodys() -> Iterable[Session]:
    return ()
