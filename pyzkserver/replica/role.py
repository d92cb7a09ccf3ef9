"""What a role must answer.  Standalone server, leader and learner differ in this and no more."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .replica import Proposal

__all__ = ["Role"]


class Role(Protocol):
    """The part of the request path that depends on who decides."""

    @property
    def mode(self) -> str:
        """What monitoring is told: standalone, leader, follower or observer (``ServerStats.getServerState``)."""

    def submit(self, proposal: "Proposal") -> None:
        """A write was asked for here: get it decided and into the log."""

    def durable(self, zxid: int) -> None:
        """The log has everything up to ``zxid`` safe on this member."""
