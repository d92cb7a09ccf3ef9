"""The transaction log: ``append`` takes a transaction, ``durable`` is called when it cannot be lost any more.

An in-memory server is one whose log keeps nothing: for it a transaction is durable at once.
"""

from collections.abc import Callable
from typing import Protocol

from pyzkserver.state.transaction import Transaction

__all__ = ["NullLog", "TransactionLog", "Unlogged"]


class TransactionLog(Protocol):
    """What a replica needs of its log."""

    immediate: bool
    """Whether ``append`` makes durable: then nothing is ever pending, and ``durable`` is not called."""

    durable: Callable[[int], None]
    """To be called with a zxid when everything up to it is durable.  The replica sets it."""

    digest: Callable[[], int | None]
    """What tells the tree's digest after the last transaction that was appended.  The role may set it.

    It is asked when a group is about to be made durable whose last transaction came without a digest.
    """

    def append(self, txn: Transaction, digest: int | None = None) -> None:
        """Take a transaction, and the tree's digest after it, if that was counted.  Zxids only grow."""

    def append_payloads(
        self, first_zxid: int, last_zxid: int, payloads: list[bytes], digested: bool = True
    ) -> None:
        """Take transactions as they are to be written; ``digested``: the last one's digest is not missing."""

    def append_payload(self, zxid: int, payload: bytes) -> None:
        """The same, of a transaction that is encoded already (``txncodec``)."""


class NullLog:
    """Keeps nothing."""

    immediate = True

    def __init__(self) -> None:
        self.durable: Callable[[int], None] = _ignore
        self.digest: Callable[[], int | None] = _no_digest

    def append(self, txn: Transaction, digest: int | None = None) -> None:
        """Nothing can be lost that is not meant to be kept."""

    def append_payload(self, zxid: int, payload: bytes) -> None:
        """Nor this."""

    def append_payloads(
        self, first_zxid: int, last_zxid: int, payloads: list[bytes], digested: bool = True
    ) -> None:
        """Nor here."""


class Unlogged(NullLog):
    """Of an observer that keeps no log: what a client asks for is decided elsewhere, and later."""

    immediate = False


def _ignore(zxid: int) -> None:
    pass


def _no_digest() -> None:
    return None
