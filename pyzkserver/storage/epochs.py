"""The two epochs that a member of an ensemble may never forget (``QuorumPeer``).

``acceptedEpoch`` is the newest one that this member promised to a leader, ``currentEpoch`` that of the last leader
whose history it took over.  Both are files beside the snapshots, which hold a decimal number.  When to set which
is the quorum protocol's business; here it is only made durable.
"""

import logging
from pathlib import Path
from typing import Final

from .disk import Disk
from .filelog import StorageFailed
from .recovery import DataDirectoryError

__all__ = ["ACCEPTED_EPOCH", "CURRENT_EPOCH", "Epochs"]

logger = logging.getLogger("pyzkserver.storage")

ACCEPTED_EPOCH: Final = "acceptedEpoch"
CURRENT_EPOCH: Final = "currentEpoch"
_ASIDE: Final = ".tmp"
"""Behind the name while it is written: Apache's ``AtomicFileOutputStream`` does so, and looks for it."""
_LARGEST: Final = 64  # bytes; no number is as long as that


class Epochs:
    """The epochs of the member whose snapshots are in ``directory`` (``…/version-2``).

    ``current`` ≤ ``accepted``, neither ever goes back, and both are at least the epoch of the last zxid that was
    logged when ``load`` was called.
    """

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._directory = directory
        self.accepted = 0
        self.current = 0

    def load(self, last_zxid: int) -> None:
        """Read both; ``last_zxid`` is the last transaction that was logged (``QuorumPeer.loadDataBase``).

        A file that is not there becomes one with the epoch of that transaction: so it is in a new directory, and
        in one that a standalone server has used.  Raises DataDirectoryError where they cannot be as they are.
        """
        try:
            self._load(last_zxid >> 32)
        except OSError as error:
            raise DataDirectoryError(
                f"{self._directory}: the epochs cannot be kept there: {error.strerror or error}. Mend the disk, or"
                " make room on it, then start the server again"
            ) from error

    def _load(self, logged: int) -> None:
        current, accepted = self._read(CURRENT_EPOCH), self._read(ACCEPTED_EPOCH)
        if accepted is None:
            accepted = logged
            self._write(ACCEPTED_EPOCH, accepted)
        self.accepted = accepted
        if current is None:
            current = logged
            self._write(CURRENT_EPOCH, current)
        elif current < logged:
            current = self._catch_up(current, logged)
        if accepted < current:
            path = self._directory / ACCEPTED_EPOCH
            raise DataDirectoryError(
                f"{path}: the accepted epoch {accepted} is less than the current epoch {current}, which cannot be:"
                f" a leader is accepted before it is followed. {_MENDING}"
            )
        # A server that was killed may have renamed one without having made that durable.
        self._disk.sync_directory(self._directory)
        self.current = current

    def _catch_up(self, current: int, logged: int) -> int:
        """What the current epoch is, where transactions of a later one were logged.

        A learner logs what its new leader has ahead of it, and notes that leader's epoch afterwards.  If it ends
        between the two, then the last zxid has the epoch of an earlier leader whom it never followed.  To have
        logged a transaction of that epoch it must have had all that came before, so it is as if it had.
        (Apache's server refuses to start then, unless it ended in the middle of writing that file.)
        """
        if self.accepted < logged:
            raise DataDirectoryError(
                f"{self._directory / CURRENT_EPOCH}: the current epoch {current} and the accepted epoch"
                f" {self.accepted} are older than the last transaction, of epoch {logged}. {_MENDING}"
            )
        try:
            unfinished = self._read(CURRENT_EPOCH + _ASIDE) or 0
        except DataDirectoryError:
            unfinished = 0  # torn
        found = unfinished if logged <= unfinished <= self.accepted else logged
        logger.warning(
            "the current epoch was %d, but transactions of %d follow: it is %d", current, logged, found
        )
        self._write(CURRENT_EPOCH, found)
        return found

    def set_accepted(self, epoch: int) -> None:
        """Promise it: durable on return.  Raises StorageFailed, and ValueError for one older than the last."""
        if epoch < self.accepted:
            raise ValueError(f"epoch {epoch} was to be accepted after {self.accepted}")
        self._keep(ACCEPTED_EPOCH, epoch)
        self.accepted = epoch

    def set_current(self, epoch: int) -> None:
        """Take it over: durable on return.  Raises StorageFailed, and ValueError where the rules above forbid it."""
        if not self.current <= epoch <= self.accepted:
            raise ValueError(
                f"epoch {epoch} was to be the current one after {self.current}, and {self.accepted} is accepted"
            )
        self._keep(CURRENT_EPOCH, epoch)
        self.current = epoch

    def _keep(self, name: str, epoch: int) -> None:
        # No OSError: a role would take that for the end of a connection, and go on.
        try:
            self._write(name, epoch)
        except OSError as error:
            raise StorageFailed(
                f"cannot write the epoch to {self._directory / name}: {error.strerror or error}. The server stops: a"
                " member that may forget what it promised must not go on. Mend the disk, then start it again"
            ) from error

    def _read(self, name: str) -> int | None:
        path = self._directory / name
        line = _first_line(self._disk, path)
        if line is None:
            return None
        number = _number(line)
        if number is None or number < 0:
            raise DataDirectoryError(
                f"{path}: it should hold an epoch, a decimal number, and begins with {line!r}. {_MENDING}"
            )
        return number

    def _write(self, name: str, epoch: int) -> None:
        path = self._directory / name
        aside = self._directory / (name + _ASIDE)
        file = self._disk.create(aside)
        try:
            file.write(str(epoch).encode(), 0)
            file.sync()
        finally:
            file.close()
        self._disk.rename(aside, path)
        self._disk.sync_directory(self._directory)


_MENDING: Final = (
    "Restore the whole directory from a backup of this member; or, if a majority of the others is well, empty it,"
    " and this member is brought up from them"
)


def _first_line(disk: Disk, path: Path) -> str | None:
    """None if the file is not there."""
    try:
        data = next(iter(disk.read(path)), b"")[:_LARGEST]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataDirectoryError(
            f"{path}: cannot be read: {error.strerror or error}. Make it readable for the user who runs the server"
        ) from error
    return data.decode("utf-8", "replace").partition("\n")[0].strip()


def _number(text: str) -> int | None:
    """As ``Long.parseLong`` has it, but for blanks around it."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        return None
    return int(text)
