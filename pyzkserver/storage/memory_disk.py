"""A disk in memory, for members that keep no directory: the same code serves them, and restarts in process.

What is here lives as long as the ``MemoryDisk`` does.  Nothing is ever more durable than at once, so the syncs do
nothing; and a file that grows by zeros, as logs do ahead of what is written to them, takes no memory for them.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import trio

__all__ = ["MemoryDisk", "PromptWorker"]

_CHUNK: Final = 1 << 20


class _File:
    """``data``, and zeros up to ``size`` behind it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = 0

    def resize(self, size: int) -> None:
        del self.data[size:]
        self.size = size

    def write(self, data: bytes, position: int) -> None:
        if not data:
            return
        end = position + len(data)
        if position > len(self.data):
            self.data.extend(bytes(position - len(self.data)))
        self.data[position:end] = data
        self.size = max(self.size, end)

    def read(self, start: int) -> bytes:
        end = min(start + _CHUNK, self.size)
        chunk = bytes(self.data[start:end])
        return chunk + bytes(max(end - start, 0) - len(chunk))


class _Directory(dict[str, "_File | _Directory"]):
    pass


class _OpenFile:
    """A file that is being written."""

    def __init__(self, file: _File, path: Path) -> None:
        self._file: _File | None = file
        self._path = path

    def _opened(self) -> _File:
        if self._file is None:
            raise _error(errno.EBADF, self._path)
        return self._file

    def write(self, data: bytes, position: int) -> None:
        """Write all of it there."""
        self._opened().write(data, position)

    def sync(self) -> None:
        """It is as durable as it will be."""
        self._opened()

    def truncate(self, size: int) -> None:
        """Cut it, or let it grow by zeros."""
        self._opened().resize(size)

    def close(self) -> None:
        """Give it back."""
        self._opened()
        self._file = None


class MemoryDisk:
    """A file system in memory.  The directories in ``existing`` are there."""

    def __init__(self, *, existing: tuple[Path, ...] = ()) -> None:
        self._root = _Directory()
        self._locks: set[Path] = set()
        for path in existing:
            self.make_directory(path)

    def used(self) -> int:
        """Bytes in all files, without zeros that were only allocated."""
        return _used(self._root)

    def make_directory(self, path: Path) -> None:
        """Make it and its parents, unless it is there."""
        directory = self._root
        for part in path.parts[1:]:
            node = directory.setdefault(part, _Directory())
            if not isinstance(node, _Directory):
                raise _error(errno.ENOTDIR, path)
            directory = node

    def names(self, path: Path) -> list[str]:
        """What is in a directory."""
        return list(self._directory(path))

    def size(self, path: Path) -> int:
        """A file's size in bytes."""
        return self._file(path).size

    def shared(self, path: Path) -> bool:
        """Whether a file has another name, too: none has."""
        self._file(path)
        return False

    def create(self, path: Path) -> _OpenFile:
        """A new, empty file; one that is there is emptied."""
        file = self._directory(path.parent).setdefault(path.name, _File())
        if not isinstance(file, _File):
            raise _error(errno.EISDIR, path)
        file.resize(0)
        return _OpenFile(file, path)

    def open(self, path: Path) -> _OpenFile:
        """A file that is there, to be written."""
        return _OpenFile(self._file(path), path)

    def read(self, path: Path, start: int = 0) -> Iterator[bytes]:
        """A file's bytes from there on, in chunks."""
        file = self._file(path)
        while chunk := file.read(start):
            yield chunk
            start += len(chunk)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name; one that had it is gone."""
        file = self._file(old)
        target = self._directory(new.parent)
        if isinstance(target.get(new.name), _Directory):
            raise _error(errno.EISDIR, new)
        del self._directory(old.parent)[old.name]
        target[new.name] = file

    def remove(self, path: Path) -> None:
        """Delete a file."""
        self._file(path)
        del self._directory(path.parent)[path.name]

    def sync_directory(self, path: Path) -> None:
        """It is as durable as it will be."""
        self._directory(path)

    def lock(self, path: Path) -> Callable[[], None] | None:
        """Lock by a file of this name, against others in this process."""
        self._directory(path.parent).setdefault(path.name, _File())
        if path in self._locks:
            return None
        self._locks.add(path)
        return lambda: self._locks.discard(path)

    def resolve(self, path: Path) -> Path:
        """The one name of what may have several.  There are no links here."""
        return Path(os.path.normpath(path))

    def _find(self, path: Path) -> "_File | _Directory":
        node: _File | _Directory = self._root
        for part in path.parts[1:]:
            if not isinstance(node, _Directory):
                raise _error(errno.ENOTDIR, path)
            found = node.get(part)
            if found is None:
                raise _error(errno.ENOENT, path)
            node = found
        return node

    def _directory(self, path: Path) -> _Directory:
        node = self._find(path)
        if not isinstance(node, _Directory):
            raise _error(errno.ENOTDIR, path)
        return node

    def _file(self, path: Path) -> _File:
        node = self._find(path)
        if not isinstance(node, _File):
            raise _error(errno.EISDIR, path)
        return node


def _used(node: "_File | _Directory") -> int:
    return len(node.data) if isinstance(node, _File) else sum(map(_used, node.values()))


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))


class PromptWorker:
    """Does each job at once: for a disk that lets nobody wait, a thread would only cost."""

    def __init__(self, name: str = "") -> None:
        self.signal: Callable[[], None] | None = None
        """What sees to it that ``deliver`` is called; None stands for Trio's next turn."""
        self._done: deque[tuple[Callable[[BaseException | None], None], BaseException | None]] = deque()

    def submit(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Do the job; ``done`` is called soon, and not before this returns, as callers are used to it."""
        failure: BaseException | None = None
        try:
            job()
        except Exception as error:
            failure = error
        self._done.append((done, failure))
        if self.signal is None:
            trio.lowlevel.current_trio_token().run_sync_soon(self.deliver)
        else:
            self.signal()

    def deliver(self) -> None:
        """Say what is done."""
        while self._done:
            done, failure = self._done.popleft()
            done(failure)

    def stop(self) -> None:
        """There is nothing that could be left to do.  Nobody is told of it any more."""
        self._done.clear()
