"""The bytes of a snapshot as they come in: gathered, summed up, and taken from the front.

What they mean is said in ``snapreader.py``.
"""

from struct import Struct
from typing import Final, NoReturn
from zlib import adler32

from pyzkserver.wire.jute import DecodeError

from .damage import SnapshotDamaged

__all__ = ["PushedBytes"]

_LARGEST: Final = 1 << 28  # bytes: a length beyond it is a damaged one, and nothing is gathered for it


class PushedBytes:
    """``_data`` from ``_at`` on is what is to be read next; a reader is built upon it.

    Everything before ``_at`` is read, everything before ``_summed`` is in ``_checksum``; ``_base`` is where
    ``_data`` begins, counted from the snapshot's beginning.
    """

    def __init__(self) -> None:
        self._data = b""
        self._base = 0
        self._at = 0
        self._summed = 0
        self._checksum = 1
        # Chunks that were not looked at, until there are _needed bytes together with those in _data.
        self._chunks: list[bytes] = []
        self._have = 0
        self._needed = 0

    def _gather(self) -> None:
        self._sum_up()
        self._base += self._at
        self._data = b"".join((self._data[self._at :], *self._chunks))
        self._chunks.clear()
        self._at = self._summed = 0

    def _sum_up(self) -> int:
        """The checksum of everything before ``_at``."""
        self._checksum = adler32(memoryview(self._data)[self._summed : self._at], self._checksum)
        self._summed = self._at
        return self._checksum

    def _wait(self, size: int = 0) -> bool:
        """Read on when there are ``size`` bytes from here, or else anything more."""
        if size > _LARGEST:
            self._fail(f"a length of {size}")
        self._needed = max(size, len(self._data) - self._at + 1)
        return False

    def _wait_or_fail(self, reason: DecodeError) -> bool:
        """A record that cannot be decoded is mostly one that is not there as a whole."""
        if len(self._data) - self._at > _LARGEST:
            self._fail(str(reason))
        return self._wait()

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        raise SnapshotDamaged(self._base + (self._at if at is None else at), reason)

    def _take(self, layout: Struct) -> tuple[int, ...] | None:
        """Numbers, or None if they are not all there."""
        if len(self._data) - self._at < layout.size:
            return None
        self._at += layout.size
        return layout.unpack_from(self._data, self._at - layout.size)
