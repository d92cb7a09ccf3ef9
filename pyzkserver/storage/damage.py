"""What may be wrong with the bytes of a log or a snapshot.  Which file they came from, the caller knows."""

from pyzkserver.errors import PyzkserverError

__all__ = ["LogDamaged", "SnapshotDamaged", "TornTail"]


class _Wrong(PyzkserverError):
    """``offset`` counts bytes from the beginning of the file; ``reason`` is for people."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(offset, reason)
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} (at byte {self.offset})"


class TornTail(_Wrong):
    """A log ends in what was never written whole, as after a crash: everything before ``offset`` is good.

    Nothing that was acknowledged stood behind it, so the newest log may be cut there.  In an older log it is what
    a server leaves that does not cut; if anything is missing, the zxids of the next log show a gap.
    """


class LogDamaged(_Wrong):
    """A log has lost something that was written: what stands at ``offset`` cannot be read or believed.

    ``next_entry`` is the offset at which whole entries go on, where there are any.
    """

    def __init__(self, offset: int, reason: str, next_entry: int | None = None) -> None:
        super().__init__(offset, reason)
        self.next_entry = next_entry


class SnapshotDamaged(_Wrong):
    """A snapshot is cut short, altered, or none.  The offset is that in the uncompressed bytes."""
