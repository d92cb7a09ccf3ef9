"""A disk that can be crashed: it knows what was synced and forgets the rest, tears writes, fails at any call.

What POSIX promises is all that it keeps.  ``sync`` of a file makes its bytes durable and not its name;
``sync_directory`` makes names durable; everything else may have happened after a power failure, or not.  After
a sync that failed what it was about is shown, but no later sync makes it durable (as Linux has it).
"""

import copy
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

__all__ = ["PowerFailure", "SimDisk"]

SECTOR = 512


class PowerFailure(BaseException):
    """The machine is off.  No ``except OSError`` holds it up."""


class _Write(NamedTuple):
    position: int
    data: bytes


class _Resize(NamedTuple):
    size: int


_Change = _Write | _Resize


class _File:
    """``seen`` is what reads show, ``safe`` what is on the platter; the changes between them in order."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.safe = bytearray()
        self.waiting: list[_Change] = []
        """What the next sync makes durable."""

    def change(self, change: _Change) -> None:
        _apply(self.seen, change)
        self.waiting.append(change)

    def sync(self) -> None:
        for change in self.waiting:
            _apply(self.safe, change)
        self.waiting.clear()

    def fail_to_sync(self, random: Random) -> None:
        """Some of it gets to the platter, and the rest never will."""
        self.safe = _torn(self.safe, self.waiting, random)
        self.waiting.clear()


class _Directory:
    """``waiting`` are changes of names that no sync has made durable; None removes the name."""

    def __init__(self) -> None:
        self.seen: dict[str, _Node] = {}
        self.safe: dict[str, _Node] = {}
        self.waiting: list[dict[str, _Node | None]] = []

    def change(self, names: "dict[str, _Node | None]") -> None:
        _rename(self.seen, names)
        self.waiting.append(names)

    def sync(self) -> None:
        self.safe = dict(self.seen)
        self.waiting.clear()


_Node = _File | _Directory


def _apply(data: bytearray, change: _Change) -> None:
    if isinstance(change, _Resize):
        if change.size < len(data):
            del data[change.size :]
        else:
            data.extend(bytes(change.size - len(data)))
    else:
        end = change.position + len(change.data)
        if len(data) < change.position:
            data.extend(bytes(change.position - len(data)))
        data[change.position : end] = change.data


def _torn(safe: bytearray, changes: list[_Change], random: Random) -> bytearray:
    """The first changes happened, and of the next one a part."""
    data = bytearray(safe)
    kept = random.randrange(len(changes) + 1)
    for change in changes[:kept]:
        _apply(data, change)
    torn = changes[kept] if kept < len(changes) else None
    if isinstance(torn, _Write):
        end = torn.position + len(torn.data)
        if len(data) < end and random.random() < 0.3:
            _apply(data, _Resize(end))  # the size was kept, and the data was not
        _apply(data, _Write(torn.position, torn.data[: random.randrange(len(torn.data) + 1)]))
    return data


def _rename(entries: dict[str, _Node], names: "dict[str, _Node | None]") -> None:
    for name, node in names.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class _Fault(NamedTuple):
    error: int
    half: bool
    forever: bool


class SimFile:
    """A file that is being written.  ``half`` of a failing write may be done, and so may a failing sync."""

    def __init__(self, disk: "SimDisk", path: Path, file: _File) -> None:
        self._disk = disk
        self._path = path
        self._file = file
        self._open = True

    def write(self, data: bytes, position: int) -> None:
        half = data[: self._disk.random.randrange(len(data) + 1)]
        self._begin("write", lambda: self._file.change(_Write(position, bytes(half))))
        self._file.change(_Write(position, bytes(data)))

    def sync(self) -> None:
        self._begin("sync", self._file.sync, lambda: self._file.fail_to_sync(self._disk.random))
        self._file.sync()

    def truncate(self, size: int) -> None:
        self._begin("truncate", lambda: self._file.change(_Resize(size)))
        self._file.change(_Resize(size))

    def close(self) -> None:
        self._begin("close")
        self._open = False

    def _begin(
        self, what: str, half: Callable[[], None] | None = None, fail: Callable[[], None] | None = None
    ) -> None:
        if not self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(self._path))
        self._disk.begin(what, self._path, half, fail)


class SimDisk:
    """A file system in memory.

    ``calls`` counts what was asked of it, ``journal`` says what that was.  The directories in ``existing``
    are there, and durable.
    """

    def __init__(self, seed: int = 0, *, existing: tuple[Path, ...] = ()) -> None:
        self.random = Random(seed)
        self.calls = 0
        self.syncs = 0
        self.journal: list[str] = []
        self.off = False
        self._root = _Directory()
        self._locks: set[Path] = set()
        self._faults: dict[int, _Fault] = {}
        self._dead: _Fault | None = None
        self._power_off_at = -1
        for path in existing:
            directory = self._root
            for part in path.parts[1:]:
                node = directory.seen.setdefault(part, _Directory())
                directory.sync()
                assert isinstance(node, _Directory)
                directory = node

    # faults

    def fail_at(self, call: int, error: int, *, half: bool = False, forever: bool = False) -> None:
        """Let that call fail, counted from now (1 is the next one), and all after it if ``forever``.

        What it was to do is not done; or it is, as far as one likes, if ``half``.
        """
        self._faults[self.calls + call] = _Fault(error, half, forever)

    def power_off_at(self, call: int) -> None:
        """Let the power fail in the middle of that call, counted from now."""
        self._power_off_at = self.calls + call

    def mend(self) -> None:
        """Let nothing fail that has not failed yet."""
        self._faults.clear()
        self._power_off_at = -1

    def begin(
        self,
        what: str,
        path: Path,
        half: Callable[[], None] | None = None,
        fail: Callable[[], None] | None = None,
    ) -> None:
        """Every call comes by here, and may not get any further."""
        if self.off:
            raise PowerFailure
        self.calls += 1
        self.syncs += what == "sync"
        self.journal.append(f"{what} {path.name}")
        if self.calls == self._power_off_at:
            self.off = True
            if half is not None:
                half()
            raise PowerFailure
        fault = self._faults.get(self.calls) or self._dead
        if fault is None:
            return
        if fault.forever:
            self._dead = fault
        if fault.half and half is not None:
            half()
        elif fail is not None:
            fail()
        raise OSError(fault.error, os.strerror(fault.error), str(path))

    # what it may look like afterwards

    def kill(self) -> "SimDisk":
        """The process is gone, the machine runs on: the same disk for the next process, all locks free."""
        after = SimDisk(self.random.randrange(1 << 32))
        after._root = copy.deepcopy(self._root)
        return after

    @property
    def waiting(self) -> bool:
        """Whether there are bytes in a file that no sync has made durable."""
        return any(file.waiting for file in _files_of(self._root))

    def crash(self, seed: int, *, scattered: bool = False, torn: bool = False) -> "SimDisk":
        """As it may look after a power failure, when everything on it is durable.

        Of what was not synced all is kept, or nothing, or each name as it happens and of a file's changes the
        first ones, the last of them torn at any byte.  If ``scattered``, then sectors are kept as it happens.  If
        ``torn``, nothing is kept or lost as a whole.
        """
        after = SimDisk(seed)
        fate = _Fate(Random(seed), scattered, torn)
        after._root = fate.of_directory(self._root)
        return after

    # the file system

    def make_directory(self, path: Path) -> None:
        self.begin("make directory", path, lambda: self._make_directories(path, durable=False))
        self._make_directories(path, durable=True)

    def _make_directories(self, path: Path, *, durable: bool) -> None:
        directory = self._root
        for part in path.parts[1:]:
            node = directory.seen.get(part)
            if node is None:
                node = _Directory()
                directory.change({part: node})
            if durable:
                directory.sync()
            if not isinstance(node, _Directory):
                raise _error(errno.ENOTDIR, path)
            directory = node

    def names(self, path: Path) -> list[str]:
        self.begin("names", path)
        return list(self._directory(path).seen)

    def size(self, path: Path) -> int:
        self.begin("size", path)
        return len(self._existing(path).seen)

    def shared(self, path: Path) -> bool:
        self.begin("shared", path)
        self._existing(path)
        return False

    def create(self, path: Path) -> SimFile:
        parent = self._directory(path.parent)

        def make() -> None:
            node = parent.seen.get(path.name)
            if isinstance(node, _Directory):
                raise _error(errno.EISDIR, path)
            if node is None:
                parent.change({path.name: _File()})
            else:
                node.change(_Resize(0))

        self.begin("create", path, make)
        make()
        return SimFile(self, path, self._existing(path))

    def open(self, path: Path) -> SimFile:
        self.begin("open", path)
        return SimFile(self, path, self._existing(path))

    def read(self, path: Path, start: int = 0) -> Iterator[bytes]:
        self.begin("open to read", path)
        file = self._existing(path)
        while True:
            self.begin("read", path)
            chunk = bytes(file.seen[start : start + (1 << 20)])
            if not chunk:
                return
            start += len(chunk)
            yield chunk

    def rename(self, old: Path, new: Path) -> None:
        assert old.parent == new.parent, "nobody needs more"
        directory, file = self._directory(old.parent), self._existing(old)
        names: dict[str, _Node | None] = {old.name: None, new.name: file}
        self.begin("rename", new, lambda: directory.change(names))
        directory.change(names)

    def remove(self, path: Path) -> None:
        directory, _ = self._directory(path.parent), self._existing(path)
        self.begin("remove", path, lambda: directory.change({path.name: None}))
        directory.change({path.name: None})

    def sync_directory(self, path: Path) -> None:
        directory = self._directory(path)
        self.begin("sync directory", path, directory.sync)
        directory.sync()

    def lock(self, path: Path) -> Callable[[], None] | None:
        self.begin("lock", path)
        if path in self._locks:
            return None
        parent = self._directory(path.parent)
        if path.name not in parent.seen:
            parent.change({path.name: _File()})
        self._locks.add(path)
        return lambda: self._locks.discard(path)

    def resolve(self, path: Path) -> Path:
        return Path(os.path.normpath(path))

    def _find(self, path: Path) -> _Node:
        node: _Node = self._root
        for part in path.parts[1:]:
            if not isinstance(node, _Directory):
                raise _error(errno.ENOTDIR, path)
            found = node.seen.get(part)
            if found is None:
                raise _error(errno.ENOENT, path)
            node = found
        return node

    def _directory(self, path: Path) -> _Directory:
        node = self._find(path)
        if not isinstance(node, _Directory):
            raise _error(errno.ENOTDIR, path)
        return node

    def _existing(self, path: Path) -> _File:
        node = self._find(path)
        if not isinstance(node, _File):
            raise _error(errno.EISDIR, path)
        return node

    # what tests do with it

    def contents(self, path: Path) -> bytes:
        """A file's bytes.  Neither counted nor failing."""
        return bytes(self._existing(path).seen)

    def surely(self, directory: Path) -> dict[str, bytes | bytearray]:
        """The files in a directory that are there, as they are, whatever happens now; the newest first."""
        node: _Node | None = self._root
        for part in directory.parts[1:]:
            node = node.safe.get(part) if isinstance(node, _Directory) else None
        if not isinstance(node, _Directory):
            return {}
        return {name: file.safe for name, file in reversed(node.safe.items()) if isinstance(file, _File)}

    def put(self, path: Path, data: bytes) -> None:
        """Make that the file's bytes, and durable.  Neither counted nor failing."""
        directory = self._directory(path.parent)
        file = _File()
        file.change(_Write(0, data))
        file.sync()
        directory.change({path.name: file})
        directory.sync()

    def listing(self, path: Path) -> list[str]:
        """The names in a directory, sorted.  Neither counted nor failing."""
        return sorted(self._directory(path).seen)


class _Fate:
    """Decides what a power failure leaves."""

    def __init__(self, random: Random, scattered: bool, torn: bool) -> None:
        self._random = random
        self._scattered = scattered or (torn and random.random() < 0.5)
        self._kept = 0.5 if torn else random.choice((0.0, 0.5, 0.5, 1.0))
        """How likely a change is kept; most power failures treat all alike."""

    def of_directory(self, directory: _Directory) -> _Directory:
        entries = dict(directory.safe)
        for names in directory.waiting:
            if self._random.random() < self._kept:
                _rename(entries, names)
        after = _Directory()
        # What has two names for a moment (a rename of which half is durable) stays one file.
        known: dict[int, _Node] = {}
        for name, node in entries.items():
            if id(node) not in known:
                known[id(node)] = (
                    self.of_directory(node) if isinstance(node, _Directory) else self._of_file(node)
                )
            after.seen[name] = known[id(node)]
        after.sync()
        return after

    def _of_file(self, file: _File) -> _File:
        after = _File()
        after.seen = self._scatter(file) if self._scattered else self._tear(file)
        after.safe = bytearray(after.seen)
        return after

    def _tear(self, file: _File) -> bytearray:
        if self._kept == 1.0:
            return bytearray(file.seen)
        return _torn(file.safe, file.waiting, self._random) if self._kept else bytearray(file.safe)

    def _scatter(self, file: _File) -> bytearray:
        data = bytearray(file.safe)
        if len(data) < len(file.seen):
            data.extend(bytes(len(file.seen) - len(data)))
        del data[max(len(file.seen), 0) :]
        for start in range(0, len(data), SECTOR):
            if self._random.random() < 0.5:
                data[start : start + SECTOR] = file.seen[start : start + SECTOR]
        return data


def _files_of(directory: _Directory) -> Iterator[_File]:
    for node in directory.seen.values():
        if isinstance(node, _File):
            yield node
        else:
            yield from _files_of(node)


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
