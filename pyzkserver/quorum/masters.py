"""What a learner's conversation needs of whom it learns from: the leader, or an observer master (``LearnerMaster``).

Only what both have in common; what each does in its own way is in ``leader.py``, ``leading.py`` and in
``observer_master.py``, ``relaying.py``.
"""

from typing import TYPE_CHECKING, Any, Protocol

from pyzkserver.replica.replica import Replica

from .audience import Link
from .local import Local
from .members import Members

if TYPE_CHECKING:
    from .learner_handler import LearnerHandler

__all__ = ["LearnerMaster", "Registry", "Telling"]


class Telling(Protocol):
    """What learners are told, and what becomes of what they say.  Sans-IO."""

    @property
    def replica(self) -> Replica: ...

    @property
    def last_proposed(self) -> int:
        """The zxid that learners are pinged with."""

    def flush(self) -> None:
        """Hand what has gathered to all learners."""

    def flush_if_little(self) -> None:
        """Do that at once, unless it is much."""

    def send(self, link: Link, data: bytes) -> None:
        """Queue something for one learner, behind what all of them are told."""

    def start_forwarding(self, link: Link, after: int, *, voting: bool) -> None:
        """From now on this learner is told everything beyond ``after``, which it will hold by then."""

    def request(self, link: Link, session_id: int, cxid: int, op: int, body: bytes, identities: Any) -> None:
        """What a client asked of a learner.  Raises DecodeError where that cannot be passed on."""

    def touch(self, session_id: int, timeout: int, now: int) -> None:
        """A learner's client was heard of."""

    def revalidate(self, link: Link, session_id: int, timeout: int) -> None:
        """A client wants to go on with its session at a learner: may it?"""

    def acknowledged(self, sid: int, zxid: int) -> None:
        """A follower's log holds everything up to ``zxid``."""


class LearnerMaster(Protocol):
    """Whom learners come to (``LearnerMaster``).

    ``synchronizing`` counts how many are being brought to its history, by how.
    """

    local: Local
    epoch: int
    synchronizing: dict[str, int]
    observers_only: bool
    port: str
    """Where they come to, for people."""
    max_queued: int
    """Bytes that may wait for one learner."""

    @property
    def telling(self) -> Telling: ...

    def announced(self, *, voting: bool) -> Members:
        """The configuration that NEWLEADER tells a follower, or an observer."""

    @property
    def busy(self) -> bool:
        """Whether learners must not be read from for now."""

    async def until_ready(self) -> None:
        """Wait until that is over."""

    async def epoch_for(self, sid: int, accepted: int) -> int: ...

    async def accept_epoch(self, sid: int, current: int, last_zxid: int) -> None: ...

    async def holds_history(self, sid: int, zxid: int) -> None: ...

    def register(self, handler: "LearnerHandler") -> None: ...

    def unregister(self, handler: "LearnerHandler") -> None: ...


class Registry:
    """Either of them, as one who knows which learners have said who they are.

    ``handlers`` are their connections, in the order they came.
    """

    def __init__(self) -> None:
        self.handlers: dict[LearnerHandler, None] = {}

    def register(self, handler: "LearnerHandler") -> None:
        """A learner said who it is.  A member has one connection: an older one of its ends."""
        for other in list(self.handlers):
            if other.sid == handler.sid:
                other.end("the member has connected once more")
        self.handlers[handler] = None

    def unregister(self, handler: "LearnerHandler") -> None:
        """A learner's connection ended."""
        self.handlers.pop(handler, None)
