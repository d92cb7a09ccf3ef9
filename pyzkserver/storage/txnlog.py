"""The transaction log: ``append`` takes a transaction, ``durable`` is called when it cannot be lost any more.

An in-memory server is one whose log keeps nothing: for it a transaction is durable at once.
"""

from collections.abc import Callable
from typing import Protocol

from pyzkserver.state.transaction import Transaction

__all__ = ["NullLog", "TransactionLog"]


class TransactionLog(Protocol):
    """What a replica needs of its log."""

    immediate: bool
    """Whether ``append`` makes durable: then nothing is ever pending, and ``durable`` is not called."""

    durable: Callable[[int], None]
    """To be called with a zxid when everything up to it is durable.  The replica sets it."""

    def append(self, txn: Transaction, digest: int | None = None) -> None:
        """Take a transaction, and the tree's digest after it.  Zxids only grow."""

    def append_payload(self, zxid: int, payload: bytes) -> None:
        """The same, of a transaction that is encoded already (``txncodec``)."""


class NullLog:
    """Keeps nothing."""

    immediate = True

    def __init__(self) -> None:
        self.durable: Callable[[int], None] = _ignore

    def append(self, txn: Transaction, digest: int | None = None) -> None:
        """Nothing can be lost that is not meant to be kept."""

    def append_payload(self, zxid: int, payload: bytes) -> None:
        """Nor this."""


def _ignore(zxid: int) -> None:
    pass
