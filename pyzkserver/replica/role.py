"""What a role must answer.  Standalone server, leader and learner differ in this and no more."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .replica import Proposal

__all__ = ["Role"]


class Role(Protocol):
    """The part of the request path that depends on who decides."""

    @property
    def mode(self) -> str:
        """What monitoring is told: standalone, leader, follower or observer (``ServerStats.getServerState``)."""

    @property
    def asks_elsewhere(self) -> bool:
        """Whether writes are judged by another member.

        Then they come to ``submit`` as their bytes, and sync comes there too: it has to wait for that member.
        """

    @property
    def read_only(self) -> bool:
        """Whether only clients are served that have said they want no more than to read."""

    @property
    def opens_local_sessions(self) -> bool:
        """Whether a new session is this member's business alone: no transaction tells of it."""

    def gauges(self) -> Mapping[str, int]:
        """Numbers of its own that monitoring is told, by their names in the word mntr (without ``zk_``)."""

    def reset_statistics(self) -> None:
        """Those of them that are counted begin anew: the word srst asks for it."""

    def submit(self, proposal: "Proposal") -> None:
        """A write was asked for here: get it decided and into the log."""

    def durable(self, zxid: int) -> None:
        """The log has everything up to ``zxid`` safe on this member."""

    def resume(self, session_id: int, timeout: int, answer: "Callable[[bool], None]") -> None:
        """A client that has proven whose it is wants to go on with its session here, with this timeout (ms).

        ``answer`` hears whether it may, perhaps before this returns; never, if the role ends before.
        """
