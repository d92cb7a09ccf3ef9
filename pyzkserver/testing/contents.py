"""What a test's server may begin with: a mapping, a document, a snapshot, a data directory.

Two kinds come out: ``Znode``s by path, which are created like anybody's, or a whole state, which is taken over
with its zxids and sessions.
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, Union

from pyzkserver.errors import PyzkserverError
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.node import ttl_owner
from pyzkserver.state.paths import invalid_reason
from pyzkserver.state.savepoint import Savepoint
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import snapfile
from pyzkserver.storage.damage import SnapshotDamaged
from pyzkserver.storage.logfile import zxid_of
from pyzkserver.tools.document import Doubled
from pyzkserver.tools.forms import counted, path_text, read_acl
from pyzkserver.wire.records import ACL, Id

__all__ = ["IMPLIED", "Contents", "ContentsError", "State", "Tree", "Znode", "contents_of", "znodes_of"]


class ContentsError(PyzkserverError):
    """Contents for a server that cannot be understood.  The message says what is wrong, and where."""


@dataclass(frozen=True, kw_only=True)
class Znode:
    """A node that is more than its data.

    ``acl`` holds entries such as ``"digest:user:hash:cdrwa"``, or ACLs of kazoo's; ``ttl`` is in milliseconds.
    """

    data: bytes | str | None = b""
    acl: Iterable[Any] = ()
    container: bool = False
    ttl: int | None = None

    def acl_entries(self) -> list[ACL]:
        """The ACL as the server has it.  Raises ValueError."""
        return [_acl_entry(entry) for entry in self.acl] or list(OPEN_ACL)

    def data_bytes(self) -> bytes | None:
        """The data as the server has it: text as UTF-8."""
        return self.data.encode() if isinstance(self.data, str) else self.data


IMPLIED = Znode()
"""A node that nobody mentioned, but that another one is below."""

Tree: TypeAlias = Mapping[str, Union[bytes, str, Znode, "Tree", None]]
"""Nodes by path or name: to their data, or to a mapping of children, in which "" is the node's own data."""


@dataclass(frozen=True)
class State:
    """Everything that a server in memory holds: nodes, zxids, and sessions by id with timeouts in milliseconds."""

    nodes: Savepoint
    sessions: Mapping[int, int]

    def __repr__(self) -> str:
        znodes = sum(bool(path) and not path.startswith("/zookeeper") for path in self.nodes.nodes)
        shown = f"{counted(znodes, 'znode')}, {counted(len(self.sessions), 'session')}"
        return f"<State: {shown}, up to zxid {self.nodes.last_zxid:#x}>"


# Quoted where users see it, so that help() shows the name and not what it stands for.
Contents: TypeAlias = Tree | State | str | os.PathLike[str]
"""A mapping; a state that was kept; or the path of a .json or .yaml file, a snapshot, or a data directory."""


def contents_of(source: Contents) -> State | dict[str, Znode]:
    """Read it.  Raises ContentsError."""
    if isinstance(source, State):
        return source
    if isinstance(source, Mapping):
        return znodes_of(source)
    if not isinstance(source, str | os.PathLike):
        raise ContentsError(
            f"{source!r} is no mapping of paths to data, no kept state, and no path of a file"
        )
    path = Path(source)
    try:
        if path.is_dir():
            return _data_directory(path)
        if path.name.startswith("snapshot.") and zxid_of(path.name) is not None:
            return _snapshot(path)
        return _document(path)
    except ContentsError:
        raise
    except PyzkserverError as error:
        raise ContentsError(str(error)) from error
    except OSError as error:
        raise ContentsError(f"{path}: cannot be read: {error.strerror or error}") from error


# --- nodes by path ------------------------------------------------------------------------------------------


def znodes_of(tree: Tree, top: str = "/") -> dict[str, Znode]:
    """The nodes by their paths, parents first, those included that nobody mentioned.  Raises ContentsError."""
    if not isinstance(tree, Mapping):
        raise ContentsError(f"{tree!r} is no mapping of paths to data")
    found: dict[str, Znode] = {}
    _gather(tree, "" if top == "/" else top, found)
    return found


def _gather(tree: Mapping[Any, Any], above: str, found: dict[str, Znode]) -> None:
    if isinstance(tree, Doubled):
        raise ContentsError(f"{above or '/'}: {tree.name!r} stands there twice")
    for name, value in tree.items():
        if not isinstance(name, str):
            raise ContentsError(f"{above or '/'}: {name!r} is no name: names and paths are text")
        name = name.strip("/")
        path = f"{above}/{name}" if name else above
        if path and (reason := invalid_reason(path)):
            raise ContentsError(f"{path_text(path)} cannot be a path: {reason}")
        if isinstance(value, Mapping):
            _enter(path, IMPLIED, found)
            _gather(value, path, found)
        else:
            _enter(path or "/", _znode(value, path or "/"), found)


def _enter(path: str, znode: Znode, found: dict[str, Znode]) -> None:
    parent = path.rpartition("/")[0]
    if parent and parent not in found:
        _enter(parent, IMPLIED, found)
    if path and (znode is not IMPLIED or path not in found):
        found[path] = znode


def _znode(value: Any, path: str) -> Znode:
    znode = value if isinstance(value, Znode) else Znode(data=value)
    if znode.data is not None and not isinstance(znode.data, str | bytes):
        quote = " (numbers, and on, off, yes, no in YAML, become text in quotes)"
        raise ContentsError(
            f"{path}: {znode.data!r} is no data: that is bytes, text, None, a Znode, or a mapping of children"
            + (quote if isinstance(znode.data, int | float) else "")
        )
    if znode.ttl is not None and (znode.container or ttl_owner(znode.ttl) is None):
        kind = "a container has no ttl" if znode.container else "that is from 1 to 1,099,511,627,775 ms"
        raise ContentsError(f"{path}: ttl={znode.ttl}: {kind}")
    try:
        znode.acl_entries()
        znode.data_bytes()
    except ValueError as error:
        raise ContentsError(f"{path}: {error}") from None
    return znode


def _acl_entry(entry: Any) -> ACL:
    if hasattr(entry, "perms") and hasattr(entry, "id"):  # kazoo's, or ours
        return ACL(entry.perms, Id(entry.id.scheme, entry.id.id))
    return read_acl([entry])[0]


# --- whole states -------------------------------------------------------------------------------------------


def _data_directory(path: Path) -> State:
    from pyzkserver.tools.directories import find_existing, read_state

    recovered = read_state(find_existing(path)).recovered
    return State(Savepoint(recovered.tree), dict(recovered.sessions))


def _snapshot(path: Path) -> State:
    from pyzkserver.storage.disk import RealDisk

    try:
        return _snapshot_of(RealDisk().read(path), path.name, zxid_of(path.name) or 0)
    except SnapshotDamaged as damage:
        raise ContentsError(f"{path}: {damage}") from damage


def _snapshot_of(chunks: Iterable[bytes], name: str = "", zxid: int = 0) -> State:
    tree = DataTree(extended_types=True)
    contents = snapfile.read(chunks, tree, name)
    newest = max(max(node.czxid, node.mzxid, node.pzxid) for node in tree.nodes.values())
    tree.last_zxid = max(zxid, contents.last_zxid or 0, newest)
    return State(Savepoint(tree), dict(contents.sessions))


def _document(path: Path) -> State | dict[str, Znode]:
    """A dump, or nodes by path as in a mapping."""
    from pyzkserver.tools.document import load
    from pyzkserver.tools.dumpcomplaints import NotADump
    from pyzkserver.tools.dumpreader import read
    from pyzkserver.tools.dumpwriter import FORMAT

    form = load(path)
    if not isinstance(form, dict):
        raise ContentsError(f"{path}: this is neither a dump nor an object of nodes by path")
    if form.get("format") == FORMAT:
        try:
            contents = read(form, int(time.time() * 1000))
        except NotADump as error:
            raise ContentsError("\n".join(f"{path}: {reason}" for reason in error.reasons)) from None
        # What a tree knows beside its nodes (owners, quotas …) is gathered where snapshots are read.
        return _snapshot_of(snapfile.write(contents.tree, contents.sessions))
    try:
        return znodes_of(form)
    except ContentsError as error:
        raise ContentsError(f"{path}: {error}") from None
