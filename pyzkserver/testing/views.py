"""What a running server holds, as plain values: looked at in the server's thread, between two requests."""

from collections.abc import Iterator
from dataclasses import dataclass

from pyzkserver.serving.connection import Connection
from pyzkserver.state.node import Node, NodeKind, kind_of, ttl_of
from pyzkserver.state.paths import invalid_reason
from pyzkserver.state.sessions import Session
from pyzkserver.state.tree import DataTree
from pyzkserver.state.watches import PERSISTENT, RECURSIVE, STANDARD, WatchTable
from pyzkserver.tools.forms import acl_form, counted, data_text, hex64, path_text

from .control import Control

__all__ = ["WATCH_KINDS", "NodeView", "SessionView", "Views", "WatchView"]

WATCH_KINDS = ("data", "children", "persistent", "recursive")


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """A znode.  Names are those of a Stat; times in milliseconds since 1970, ``ttl`` in milliseconds."""

    path: str
    data: bytes | None
    children: tuple[str, ...]
    acl: tuple[str, ...]
    """Entries such as ``"world:anyone:cdrwa"``."""
    kind: str
    """persistent, ephemeral, container or ttl."""
    ephemeral_owner: int
    """The session whose it is; 0 where it is no ephemeral."""
    ttl: int
    czxid: int
    mzxid: int
    pzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int


@dataclass(frozen=True, kw_only=True)
class SessionView:
    """A session."""

    session_id: int
    timeout: int
    """How long it may be silent, in milliseconds."""
    connected: bool
    """Whether it has a connection, be it to another member of the ensemble."""
    client: str
    """Address and port of its connection, or "" where it has none."""
    server: str
    """The member of an ensemble that its connection is to, where that is another one; else ""."""
    identities: tuple[str, ...]
    """Who its connection has proven to be, as ``scheme:id``."""
    ephemerals: tuple[str, ...]
    watches: int


@dataclass(frozen=True, kw_only=True)
class WatchView:
    """A watch.  ``kind`` is one of ``WATCH_KINDS``: data (set by exists, too), children, persistent or recursive."""

    path: str
    kind: str
    session_id: int


class Views(Control):
    """What can be seen."""

    def tree(self, path: str = "/") -> dict[str, bytes | None]:
        """The data of a node and of all below it, by path; what ``tree=`` takes.

        /zookeeper is left out unless asked for, and so is / while it is empty.  Raises ZooKeeperError where ``path``
        does not exist, ValueError for what no node can be called.
        """
        _check(path)
        return self.run(self._tree, path)

    def _tree(self, path: str) -> dict[str, bytes | None]:
        tree = self.running.replica.tree
        top = tree.find(path)
        found = {} if path == "/" and not top.data else {path: top.data}
        for below in _below(tree, path):
            if path != "/" or not (below == "/zookeeper" or below.startswith("/zookeeper/")):
                found[below] = tree.nodes[below].data
        return found

    def node(self, path: str) -> NodeView:
        """One node.  Raises ZooKeeperError where it does not exist, ValueError for what no node can be called."""
        _check(path)
        return self.run(lambda: _node_view(self.running.replica.tree, path))

    def exists(self, path: str) -> bool:
        """Whether there is such a node.  Raises ValueError for what no node can be called."""
        _check(path)
        return self.run(lambda: path in self.running.replica.tree.nodes)

    def sessions(self) -> list[SessionView]:
        """All sessions, connected or not, the oldest first."""
        return self.run(self._sessions)

    def _sessions(self) -> list[SessionView]:
        replica, found = self.running.replica, []
        for session in replica.sessions.by_id.values():
            connection, server = self._connection_of(session)
            count = 0
            if connection is not None:
                watches = connection.replica.tree.watches
                paths = watches.data.by_watcher.get(connection, {}).keys()
                count = len(paths | watches.child.by_watcher.get(connection, {}).keys())
            found.append(
                SessionView(
                    session_id=session.id,
                    timeout=session.timeout,
                    connected=connection is not None,
                    client="{}:{}".format(*connection.address) if connection is not None else "",
                    identities=tuple(":".join(map(str, each)) for each in connection.identities)
                    if connection is not None
                    else (),
                    server=server,
                    ephemerals=tuple(replica.tree.ephemerals.get(session.id, ())),
                    watches=count,
                )
            )
        return found

    def _connection_of(self, session: Session) -> tuple[Connection | None, str]:
        """The session's connection, and the member that has it where that is another one."""
        owner = session.owner
        return (owner, "") if isinstance(owner, Connection) else (None, "")

    def ephemerals(self) -> dict[str, int]:
        """The ephemeral nodes by path, and the session whose each is."""
        return self.run(
            lambda: {
                path: owner for owner, paths in self.running.replica.tree.ephemerals.items() for path in paths
            }
        )

    def watches(self, path: str | None = None) -> list[WatchView]:
        """All watches, or those on a path, by path."""
        return self.run(self._watches, path)

    def _watches(self, path: str | None) -> list[WatchView]:
        watches = self.running.replica.tree.watches
        found = [*_watch_views(watches.data, "data"), *_watch_views(watches.child, "children")]
        once = {view for view in found if path is None or view.path == path}  # persistent ones stand in both
        return sorted(once, key=lambda view: (view.path, view.session_id, view.kind))

    def statistics(self) -> dict[str, int]:
        """A few numbers: connections, sessions, znodes, watches …"""
        return self.running.statistics()

    def describe(self) -> str:
        """Tree, sessions and watches as text for people."""
        return self.run(self._describe)

    def _describe(self) -> str:
        if not self.running.service.serving:
            return f"{self.running.hosts} serves nobody at the moment"
        tree = self.running.replica.tree
        sessions, watches = self._sessions(), self._watches(None)
        nodes = [path for path in _below(tree, "/") if not path.startswith("/zookeeper")]
        lines = [f"{self.running.hosts}, {counted(len(nodes), 'znode')}:"]
        lines += [_node_line(path, tree.nodes[path]) for path in nodes[:_MOST_LINES]]
        if len(nodes) > _MOST_LINES:
            lines.append(f"  … and {len(nodes) - _MOST_LINES} more")
        lines.append(counted(len(sessions), "session") + (":" if sessions else ""))
        lines += [_session_line(session) for session in sessions]
        if watches:
            lines.append("1 watch:" if len(watches) == 1 else f"{len(watches)} watches:")
            lines += [
                f"  {path_text(w.path)}  {w.kind}, of {hex64(w.session_id)}" for w in watches[:_MOST_LINES]
            ]
        return "\n".join(lines)


_MOST_LINES = 200


def _check(path: str) -> None:
    if reason := invalid_reason(path):
        raise ValueError(f"{path!r} cannot be a path: {reason}")


def _below(tree: DataTree, path: str) -> Iterator[str]:
    """The paths below, parents before their children, siblings by name."""
    top = "" if path == "/" else path
    stack = [f"{top}/{name}" for name in sorted(tree.nodes[path].children or (), reverse=True)]
    while stack:
        here = stack.pop()
        yield here
        stack += [f"{here}/{name}" for name in sorted(tree.nodes[here].children or (), reverse=True)]


def _node_view(tree: DataTree, path: str) -> NodeView:
    node = tree.find(path)
    kind = kind_of(node.ephemeral_owner, tree.extended_types)
    return NodeView(
        path=path,
        data=node.data,
        children=tuple(sorted(node.children or ())),
        acl=tuple(str(entry) for entry in acl_form(node.acl)),
        kind=kind.value,
        ephemeral_owner=node.shown_owner,
        ttl=ttl_of(node.ephemeral_owner) if kind is NodeKind.TTL else 0,
        czxid=node.czxid,
        mzxid=node.mzxid,
        pzxid=node.pzxid,
        ctime=node.ctime,
        mtime=node.mtime,
        version=node.version,
        cversion=node.stat().cversion,
        aversion=node.aversion,
    )


def _watch_views(table: WatchTable, kind: str) -> Iterator[WatchView]:
    kinds = {STANDARD: kind, PERSISTENT: "persistent", RECURSIVE: "recursive"}
    for path, watchers in table.by_path.items():
        for watcher, modes in watchers.items():
            for mode, name in kinds.items():
                if modes & mode:
                    yield WatchView(path=path, kind=name, session_id=watcher.session_id)


def _node_line(path: str, node: Node) -> str:
    owner = f"  ephemeral of {hex64(node.shown_owner)}" if node.shown_owner else ""
    return f"  {path_text(path)}  {data_text(node.data)}{owner}"


def _session_line(session: SessionView) -> str:
    where = f"connected from {session.client}" if session.connected else "not connected"
    if session.server:
        where += f" to {session.server}"
    return (
        f"  {hex64(session.session_id)}  {where}, timeout {session.timeout} ms,"
        f" {counted(len(session.ephemerals), 'ephemeral')}"
    )
