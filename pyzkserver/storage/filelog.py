"""The transaction log on disk: appended in memory, flushed in groups, durable when the flush is done.

While one group is being written and synced, the next one gathers.  The state of the file is the worker's:
nothing else touches it, and the worker does one job at a time.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from pyzkserver.errors import PyzkserverError
from pyzkserver.state.transaction import Transaction

from .disk import Disk, File, Worker
from .logfile import HEADER_SIZE, encode_transaction, file_header, frame_entries, log_name, padded_size
from .txncodec import encode_digest

__all__ = ["FileLog", "StorageFailed"]

logger = logging.getLogger("pyzkserver.storage")


class StorageFailed(PyzkserverError):
    """The disk refused to keep a transaction.  What was acknowledged is safe; the server must not go on."""


class FileLog:
    """The log in one directory.

    Transactions up to ``synced`` are durable; those up to ``writing`` are with the worker; what is in
    ``_gathered`` comes after them, and its last zxid is ``appended``.
    """

    immediate = False

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        worker: Worker,
        *,
        soon: Callable[[Callable[[], None]], None],
        elapsed_ms: Callable[[], int],
        last_zxid: int,
        force_sync: bool = True,
        pre_alloc_bytes: int = 65536 * 1024,
        size_limit_bytes: int = -1,
        warn_ms: int = 1000,
    ) -> None:
        self.durable: Callable[[int], None] = _ignore
        self.failed: Callable[[StorageFailed], None] = _raise
        self.digest: Callable[[], int | None] = _no_digest
        """What counts the tree's digest after the last transaction that was appended, for those without one."""
        self.appended = self.writing = self.synced = last_zxid
        self.appended_since_roll = 0
        """How many transactions came since the file was rolled the last time, for whoever takes snapshots."""
        self.bytes_since_roll = 0
        self._gathered: list[bytes] = []
        """Payloads."""
        self._first = 0
        """The zxid of the first of those."""
        self._digest_missing = False
        """Whether the last of those has none, and may have one."""
        self._busy = False
        self._roll_wanted = False
        self._failure: StorageFailed | None = None
        self._ended = False
        self._worker = worker
        self.soon = soon
        """What calls a function when the batch of requests at hand is through."""
        self._elapsed_ms = elapsed_ms
        self._warn_ms = warn_ms
        self._writer = _Writer(directory, disk, force_sync, pre_alloc_bytes, size_limit_bytes)

    def append(self, txn: Transaction, digest: int | None = None) -> None:
        """Take a transaction.  It is durable when ``durable`` was called with its zxid, or a later one."""
        self.append_payloads(txn.zxid, txn.zxid, [encode_transaction(txn, digest)], digest is not None)

    def append_payload(self, zxid: int, payload: bytes) -> None:
        """The same, of a transaction that is encoded already."""
        # As ``append_payloads`` does it: every write of an ensemble comes here, on each member.
        if not self._gathered:
            self._first = zxid
        self._gathered.append(payload)
        self._digest_missing = False
        self.appended = zxid
        self.appended_since_roll += 1
        if not self._busy:
            self._busy = True
            self.soon(self._flush)

    def append_payloads(
        self, first_zxid: int, last_zxid: int, payloads: list[bytes], digested: bool = True
    ) -> None:
        """Take transactions as they are to be written; ``digested``: the last one's digest is not missing."""
        if not self._gathered:
            self._first = first_zxid
        self._gathered += payloads
        self._digest_missing = not digested
        self.appended = last_zxid
        self.appended_since_roll += len(payloads)
        if not self._busy:
            self._busy = True
            # Not at once: what the same pass over the connections still brings goes into the same flush.
            self.soon(self._flush)

    @property
    def failure(self) -> StorageFailed | None:
        """What ended it: nothing that comes after that will ever be durable."""
        return self._failure

    @property
    def flushing(self) -> bool:
        """Whether a group is with the worker."""
        return self.writing > self.synced and self._failure is None

    def roll(self) -> None:
        """Begin a new file with the next transaction."""
        self._roll_wanted = True
        self.appended_since_roll = self.bytes_since_roll = 0

    def _flush(self) -> None:
        """Hand over what has gathered."""
        if self._failure is not None or self._ended:
            return
        if not self._gathered:
            self._busy = False
            return
        if self._digest_missing:
            digest = self.digest()
            if digest is not None:
                self._gathered[-1] += encode_digest(digest)
        batch, self._gathered = frame_entries(self._gathered), []
        self.bytes_since_roll += len(batch)
        first, self.writing = self._first, self.appended
        roll, self._roll_wanted = self._roll_wanted, False
        started = self._elapsed_ms()
        self._worker.submit(
            lambda: self._writer.write(batch, first, roll),
            lambda error: self._flushed(error, started, len(batch)),
        )

    def _flushed(self, error: BaseException | None, started: int, size: int) -> None:
        if error is not None:
            self._fail(error)
            return
        took = self._elapsed_ms() - started
        if took > self._warn_ms:
            logger.warning(
                "flushing %d bytes to %s took %d ms; writes wait that long (fsync.warningthresholdms is %d)",
                size,
                self._writer.path,
                took,
                self._warn_ms,
            )
        self.synced = self.writing
        # The next group is on its way before this one is answered.
        self._flush()
        self.durable(self.synced)

    def _fail(self, error: BaseException) -> None:
        # After a failed flush nobody knows what is on the disk: the kernel may have dropped the pages.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self._failure = StorageFailed(
            f"cannot write the transaction log {self._writer.path}: {reason}. The server stops: nothing that was"
            " acknowledged is lost, and nothing more can be. Mend the disk, then start it again"
        )
        self.failed(self._failure)

    def close(self) -> None:
        """Finish what is under way and close the file."""
        self._worker.stop()
        self._writer.close()

    def end(self) -> Callable[[], None]:
        """Hand over nothing more, tell nobody of anything, and return what closes the file.

        That is for the worker: when it has done it, all that was handed over is durable, or ``failed`` was called.
        """
        self._ended = True
        self._gathered.clear()
        self.durable = _ignore
        return self._writer.close


class _Writer:
    """The file that is being written.  Only the worker touches it."""

    def __init__(
        self, directory: Path, disk: Disk, force_sync: bool, pre_alloc: int, size_limit: int
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._force_sync = force_sync
        self._pre_alloc = pre_alloc
        self._size_limit = size_limit
        self._file: File | None = None
        self._position = 0
        self._size = 0
        self.path = directory

    def write(self, batch: bytes, first_zxid: int, roll: bool) -> None:
        """Write a group of entries, and make it durable."""
        if self._file is not None and (roll or 0 < self._size_limit < self._position):
            self.close()
        created = self._file is None
        file = self._file or self._create(first_zxid)
        try:
            if created:
                file.write(file_header(), 0)
                self._position = self._size = HEADER_SIZE
            self._pad(file, len(batch))
            file.write(batch, self._position)
            if self._force_sync:
                file.sync()
                if created:
                    # A file that its directory does not know of is gone after a crash, however well synced.
                    self._disk.sync_directory(self._directory)
        except OSError:
            self._take_back(file)
            raise
        self._position += len(batch)

    def _create(self, zxid: int) -> File:
        self.path = self._directory / log_name(zxid)
        self._position = 0
        self._file = self._disk.create(self.path)
        return self._file

    def _pad(self, file: File, length: int) -> None:
        """Let the file grow in large steps, so that a sync need not store a new size each time."""
        size = padded_size(self._position + length, self._size, self._pre_alloc)
        if size > self._size:
            file.truncate(size)
            self._size = size
        self._size = max(self._size, self._position + length)

    def _take_back(self, file: File) -> None:
        """Cut off a group that may not be safe, as well as the disk lets us.

        After a failed sync the kernel may show it as if it were on the disk.  A server that is started again
        would read it, show it to clients, and lose it when the power fails.
        """
        try:
            file.truncate(self._position)
        except OSError as error:
            logger.warning("%s cannot be cut at byte %d, either: %s", self.path, self._position, error)

    def close(self) -> None:
        """Close the file.  All of it was synced."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _ignore(zxid: int) -> None:
    pass


def _no_digest() -> None:
    return None


def _raise(failure: StorageFailed) -> None:
    raise failure
