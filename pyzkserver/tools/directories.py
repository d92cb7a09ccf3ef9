"""Data directories as the tools find and read them.

Nothing is changed here: not even a torn log is cut, and the directory may be that of a running server.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NoReturn

from pyzkserver.config import parse_properties
from pyzkserver.errors import ConfigError
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.datadir import VERSION
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.logfile import HEADER_SIZE, zxid_of
from pyzkserver.storage.recovery import DataDirectoryError, Recovered, recover

from .command import UNUSABLE, ToolError

__all__ = [
    "Directories",
    "ReadOnlyDisk",
    "State",
    "find",
    "find_existing",
    "read_log_bytes",
    "read_state",
]

_CHUNK = 1 << 20
_ATTEMPTS = 5


@dataclass(frozen=True)
class Directories:
    """Where the snapshots and the logs are: both end in ``version-2``."""

    snapshots: Path
    logs: Path
    settings: dict[str, str]
    """Of the zoo.cfg that named them."""

    def both(self) -> list[Path]:
        """The two, or the one."""
        return list(dict.fromkeys((self.snapshots, self.logs)))


def find(where: Path, log_dir: Path | None = None) -> Directories:
    """A data directory, or those that a zoo.cfg names.  They need not exist."""
    settings: dict[str, str] = {}
    data_dir = where
    if where.is_file():
        if log_dir is not None:
            raise ToolError(f"{where} is a file: a zoo.cfg says itself where the logs are", UNUSABLE)
        settings = _read_zoo_cfg(where)
        data_dir = Path(settings["dataDir"])
        log_dir = Path(settings["dataLogDir"]) if settings.get("dataLogDir") else None
    for directory in (data_dir, log_dir):
        if directory is not None and directory.name == VERSION:
            raise ToolError(f"{directory}: name the data directory that {VERSION} is in", UNUSABLE)
    snapshots, logs = data_dir / VERSION, (log_dir or data_dir) / VERSION
    one = os.path.realpath(snapshots) == os.path.realpath(logs)  # by a link perhaps
    return Directories(snapshots, snapshots if one else logs, settings)


def find_existing(where: Path, log_dir: Path | None = None) -> Directories:
    """The same, where there must be something."""
    if not where.exists():
        raise ToolError(f"{where} does not exist: name a data directory or a zoo.cfg", UNUSABLE)
    found = find(where, log_dir)
    for directory in found.both():
        if not directory.is_dir():
            raise ToolError(
                f"{directory.parent} is no data directory: there is no {VERSION} in it. Name the directory that"
                " dataDir (or dataLogDir) of the zoo.cfg names, or that file itself",
                UNUSABLE,
            )
    return found


def _read_zoo_cfg(path: Path) -> dict[str, str]:
    # Not config.load: an ensemble's zoo.cfg, or that of a later version, says as well where its data is.
    text = path.read_bytes().decode("latin-1")
    parsed = parse_properties(text, str(path)).values()
    settings = {setting.key.strip(): setting.value.strip() for setting in parsed}
    if not settings.get("dataDir"):
        raise ConfigError(f"{path}: there is no dataDir in it, so it names no data directory")
    return settings


# --- reading only -------------------------------------------------------------------------------------------


def read_log_bytes(path: Path, start: int = 0) -> Iterator[bytes]:
    """A log's bytes, up to the last one that is not zero when this begins.

    A server may go on writing meanwhile, and it writes from the front to the back: so all of this was there
    before.  Otherwise one might see zeros, and behind them what was written after they had been read.
    """
    with path.open("rb", buffering=0) as file:
        position, end = start, _written(file)
        file.seek(start)
        while position < end and (chunk := file.read(min(_CHUNK, end - position))):
            position += len(chunk)
            yield chunk


def _written(file: FileIO) -> int:
    size = end = os.fstat(file.fileno()).st_size
    while end:
        start = max(0, end - _CHUNK)
        chunk = os.pread(file.fileno(), end - start, start)
        if chunk != bytes(len(chunk)):
            end = start + len(chunk.rstrip(b"\0"))
            break
        end = start
    # The header ends in zeros.
    return max(end, min(size, HEADER_SIZE))


class _Untouched:
    """A file that is asked to be cut, and is not."""

    def __init__(self, path: Path, torn: dict[Path, int]) -> None:
        self._path = path
        self._torn = torn

    def write(self, data: bytes, position: int) -> NoReturn:
        """Never."""
        raise _refusal(self._path)

    def truncate(self, size: int) -> None:
        """Note that the file ends before its end."""
        self._torn[self._path] = size

    def sync(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        """Nothing was opened."""


class ReadOnlyDisk:
    """A disk that is not written to.  What recovery would cut or remove is noted, and left as it is."""

    def __init__(self) -> None:
        self._real = RealDisk()
        self.torn: dict[Path, int] = {}
        """Files that would be cut, and where."""
        self.removed: list[Path] = []

    def names(self, path: Path) -> list[str]:
        """What is in a directory."""
        return self._real.names(path)

    def size(self, path: Path) -> int:
        """A file's size in bytes."""
        return self._real.size(path)

    def shared(self, path: Path) -> bool:
        """Whether a file has another name, too."""
        return self._real.shared(path)

    def read(self, path: Path, start: int = 0) -> Iterator[bytes]:
        """A file's bytes from there on, in chunks; of a log, what was written of it by now."""
        is_log = zxid_of(path.name) is not None and path.name.lower().startswith("log.")
        return read_log_bytes(path, start) if is_log else self._real.read(path, start)

    def open(self, path: Path) -> _Untouched:
        """To be cut: which is not done."""
        return _Untouched(path, self.torn)

    def remove(self, path: Path) -> None:
        """Note it."""
        self.removed.append(path)

    def sync_directory(self, path: Path) -> None:
        """Nothing has changed."""

    def make_directory(self, path: Path) -> NoReturn:
        """Never; nor what follows."""
        raise _refusal(path)

    def create(self, path: Path) -> NoReturn:
        """Never."""
        raise _refusal(path)

    def rename(self, old: Path, new: Path) -> NoReturn:
        """Never."""
        raise _refusal(old)

    def lock(self, path: Path) -> Callable[[], None] | None:
        """Never."""
        raise _refusal(path)

    def resolve(self, path: Path) -> Path:
        """The one name of what may have several."""
        return self._real.resolve(path)


def _refusal(path: Path) -> PermissionError:
    return PermissionError(0, "the tool that reads this does not write", str(path))


@dataclass
class State:
    """What a data directory holds, and what people should know of how it was read."""

    recovered: Recovered
    notes: list[str]


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def read_state(directories: Directories) -> State:
    """Read it as a server would, without changing it.  Raises DataDirectoryError."""
    for attempt in range(_ATTEMPTS):
        before = _listing(directories)
        disk, listener = ReadOnlyDisk(), _Listener()
        storage = logging.getLogger("pyzkserver")
        storage.addHandler(listener)
        try:
            recovered = recover(disk, directories.snapshots, directories.logs, _new_tree)
            return State(recovered, _notes(disk, listener))
        except (FileNotFoundError, DataDirectoryError):
            # A running server may have purged what was about to be read: then there is something newer.
            if attempt == _ATTEMPTS - 1 or _listing(directories) == before:
                raise
        finally:
            storage.removeHandler(listener)
    raise AssertionError


def _new_tree() -> DataTree:
    # As if TTL nodes existed: where they do not, no session has an id that looks like one's owner.
    return DataTree(extended_types=True)


def _listing(directories: Directories) -> set[Path]:
    return {directory / name for directory in directories.both() for name in os.listdir(directory)}


def _notes(disk: ReadOnlyDisk, listener: _Listener) -> list[str]:
    torn = {**disk.torn, **dict.fromkeys(disk.removed, 0)}
    notes = []
    for record in listener.records:
        about = record.args[:2] if isinstance(record.args, tuple) else ()
        # One that names a torn file and the place says that it is cut there, and it is not.
        if not any(about == cut for cut in torn.items()):
            notes.append(record.getMessage())
    for path, offset in torn.items():
        notes.append(
            f"{path} ends in the middle of a write, at byte {offset}: nobody was told of that one, and it is left"
            " out here (the file stays as it is)"
        )
    return notes
