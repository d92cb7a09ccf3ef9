"""Whether a learner keeps up: heard of, and acknowledging, within syncLimit (``LearnerHandler.SyncLimitCheck``)."""

from .local import Local

__all__ = ["SyncLimit"]


class SyncLimit:
    """Of one learner.  It has initLimit more until it holds the history.  Times are in milliseconds."""

    def __init__(self, local: Local) -> None:
        self._local = local
        self._limit = int(local.sync_seconds * 1000)
        self._deadline = self.now() + int(local.init_seconds * 1000) + self._limit
        self._owed: tuple[int, int] | None = None
        """A proposal that is not acknowledged, and since when it is watched."""
        self.acknowledged = 0
        """The last proposal that is."""

    def now(self) -> int:
        """The member's clock."""
        return self._local.host.elapsed_ms()

    def heard(self) -> None:
        """It said something."""
        self._deadline = self.now() + self._limit

    @property
    def met(self) -> bool:
        """Whether it was heard of in time."""
        return self.now() <= self._deadline

    def owes(self, proposed: int) -> int | None:
        """The proposal that it owes for too long.  To be asked regularly, with the last that was proposed."""
        now = self.now()
        if self._owed is not None and self.acknowledged < self._owed[0]:
            return self._owed[0] if now - self._owed[1] >= self._limit else None
        self._owed = (proposed, now) if self.acknowledged < proposed and proposed & 0xFFFF_FFFF else None
        return None

    def excuse(self, milliseconds: int) -> None:
        """Somebody has put the clock forward by so much, in which nobody could have said anything."""
        self._deadline += milliseconds
        if self._owed is not None:
            zxid, since = self._owed
            self._owed = (zxid, since + milliseconds)
