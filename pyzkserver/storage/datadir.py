"""The two directories of a server: made, locked, checked, and made durable.  What is in them is read elsewhere."""

import errno
from collections.abc import Callable, Iterable
from pathlib import Path

from .disk import Disk, File
from .recovery import DataDirectoryError, Recovered
from .snapshots import clear_unfinished

__all__ = ["LOCK_FILE", "VERSION", "DataDirectories", "homes"]

VERSION = "version-2"
"""The directory in dataDir and in dataLogDir that holds the files (``FileTxnSnapLog``)."""
LOCK_FILE = "pyzkserver.lock"
"""Locked while a server, or an ensemble of a command's, has a directory."""
_PROBE = "unfinished.write-test"


def homes(disk: Disk, directories: Iterable[Path]) -> list[Path]:
    """Where the locks are of whoever uses these (``…/version-2``): beside each, and each only once.

    Where one is a link to that of another server, beside that one, too.
    """
    found: dict[Path, Path] = {}
    for directory in directories:
        real = disk.resolve(directory)
        for home in (directory.parent, *([real.parent] if real.name == VERSION else [])):
            found.setdefault(disk.resolve(home), home)
    return list(found.values())


class DataDirectories:
    """Where snapshots and logs are: in ``version-2`` of ``dataDir`` and ``dataLogDir``, which may be the same."""

    def __init__(self, disk: Disk, data_dir: Path, log_dir: Path | None) -> None:
        self._disk = disk
        self.snapshots = data_dir / VERSION
        self.logs = (log_dir or data_dir) / VERSION
        if disk.resolve(self.logs) == disk.resolve(self.snapshots):
            self.logs = self.snapshots  # by a link perhaps
        self._unlock: list[Callable[[], None]] = []

    def prepare(self, *, create: bool) -> None:
        """Make and lock them, and see that they can be used.  Raises DataDirectoryError and OSError."""
        self._make(create)
        for home in homes(self._disk, self._both()):
            self._lock(home / LOCK_FILE)
        self._check_contents()
        self.clear()
        for directory in self._both():
            # Better to know it now than at the first write.
            self._disk.create(directory / _PROBE).close()
            self._disk.remove(directory / _PROBE)

    def clear(self) -> None:
        """Delete what was left half done.  Only while nobody is at work there."""
        for directory in self._both():
            clear_unfinished(self._disk, directory)

    def unlock(self) -> None:
        """Give them back."""
        for unlock in self._unlock:
            unlock()
        self._unlock.clear()

    def _both(self) -> list[Path]:
        """The two of them, or the one that they are."""
        return list(dict.fromkeys((self.snapshots, self.logs)))

    def _make(self, create: bool) -> None:
        for directory in self._both():
            if create:
                self._disk.make_directory(directory)
                continue
            try:
                self._disk.names(directory)
            except FileNotFoundError:
                raise DataDirectoryError(
                    f"{directory} does not exist, and zookeeper.datadir.autocreate is false: create it"
                ) from None

    def _lock(self, path: Path) -> None:
        unlock = self._disk.lock(path)
        if unlock is None:
            raise DataDirectoryError(
                f"{path.parent} is in use by another server: stop that one, or give this one a dataDir of its own"
            )
        self._unlock.append(unlock)

    def _check_contents(self) -> None:
        """Where they are two directories, each must hold its own (ZOOKEEPER-2967)."""
        if self.logs == self.snapshots:
            return
        for directory, prefix, home in (
            (self.logs, "snapshot.", f"dataDir, in {self.snapshots}"),
            (self.snapshots, "log.", f"dataLogDir, in {self.logs}"),
        ):
            strays = [name for name in self._disk.names(directory) if name.startswith(prefix)]
            if strays:
                raise DataDirectoryError(
                    f"{directory} holds {min(strays)}, which belongs into {home}: move all {prefix}* files there, or"
                    " set dataDir and dataLogDir as they were"
                )

    def make_durable(self, recovered: Recovered) -> None:
        """Make sure of what was read: from now on it is shown.

        Where a server was killed, it may be in the kernel's memory only.  Where a flush failed, the kernel takes
        it for written although it is not: only writing it once more helps.  Both can only be so in the newest
        log, for each is safe before the next one is begun.
        """
        path = recovered.newest_log
        if path is not None and path.name in self._disk.names(self.logs):
            file = self._disk.open(path)
            try:
                self._write_again(file, path, recovered.newest_end)
                file.sync()
            finally:
                file.close()
        for directory in self._both():
            self._disk.sync_directory(directory)
            self._disk.sync_directory(directory.parent)

    def _write_again(self, file: File, path: Path, end: int) -> None:
        position = 0
        for chunk in self._disk.read(path):
            file.write(chunk[: end - position], position)
            position += len(chunk)
            if position >= end:
                return

    def refusal(self, error: OSError) -> DataDirectoryError:
        """What to say where one of them could not be used."""
        where = error.filename or self.snapshots
        return DataDirectoryError(f"{where}: {error.strerror or error}. {_advice(error)}")


def _advice(error: OSError) -> str:
    if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
        return "Mend the disk, or make room on it, then start the server again"
    return "The data directory must exist or be creatable, and belong to the user who runs the server"
