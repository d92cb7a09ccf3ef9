"""Reads: what the tree, the watches and the sessions say, without changing any but the asker's watches.

Each function takes the decoded request and returns the encoded body of the reply.  Paths are not
validated, as in Apache: the empty one is the root.
"""

from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.wire.records import ClientInfo, EventType
from pyzkserver.wire.requests import (
    AddWatchRequest,
    CheckWatchesRequest,
    ExistsRequest,
    GetACLRequest,
    GetACLResponse,
    GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse,
    GetChildren2Request,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetEphemeralsRequest,
    GetEphemeralsResponse,
    MultiRequest,
    MultiResponse,
    MultiResult,
    OpCode,
    RemoveWatchesRequest,
    SetWatches,
    SetWatches2,
    SyncRequest,
    SyncResponse,
    WhoAmIResponse,
)

from .acl import ADMIN, READ, AccessRules, Identity, masked, permits
from .node import Node
from .tree import DataTree
from .watches import PERSISTENT, RECURSIVE, STANDARD, Watcher

__all__ = ["HalfWay", "Queries"]

_LENGTH = Struct(">i")
_NULL = _LENGTH.pack(-1)
_NO_ERROR = _LENGTH.pack(0)

# WatcherType of checkWatches and removeWatches → mode in each table; a table not named is not looked at.
_DATA_TABLE = {2: STANDARD, 3: None, 4: PERSISTENT, 5: RECURSIVE}
_CHILD_TABLE = {1: STANDARD, 3: None, 4: PERSISTENT}


class HalfWay(ZooKeeperError):
    """A multiRead that fails as a whole: answered with the error and, alone of all, with what it has so far."""

    def __init__(self, code: ErrorCode, body: bytes) -> None:
        super().__init__(code)
        self.body = body


class Queries:
    """All reads, by opcode in ``by_op``."""

    def __init__(self, tree: DataTree, access: AccessRules) -> None:
        self.tree = tree
        self.access = access
        self.by_op: dict[int, Callable[[Any, Watcher, Sequence[Identity]], bytes]] = {
            OpCode.EXISTS: self.exists,
            OpCode.GET_DATA: self.get_data,
            OpCode.GET_CHILDREN: self.get_children,
            OpCode.GET_CHILDREN2: self.get_children2,
            OpCode.GET_ACL: self.get_acl,
            OpCode.GET_ALL_CHILDREN_NUMBER: self.get_all_children_number,
            OpCode.GET_EPHEMERALS: self.get_ephemerals,
            OpCode.MULTI_READ: self.multi_read,
            OpCode.SYNC: self.sync,
            OpCode.PING: self.ping,
            OpCode.SET_WATCHES: self.set_watches,
            OpCode.SET_WATCHES2: self.set_watches,
            OpCode.ADD_WATCH: self.add_watch,
            OpCode.CHECK_WATCHES: self.check_watches,
            OpCode.REMOVE_WATCHES: self.remove_watches,
            OpCode.WHO_AM_I: self.who_am_i,
        }

    def _readable(self, path: str | None, identities: Sequence[Identity], perms: int = READ) -> Node:
        node = self.tree.find(path)
        if not node.acl.world & perms and not self.access.skip and not permits(node.acl, perms, identities):
            raise ZooKeeperError(ErrorCode.NO_AUTH, path)
        return node

    def exists(self, request: ExistsRequest, watcher: Watcher, identities: Sequence[Identity]) -> bytes:
        path = request.path
        if path is None:
            raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
        if "\0" in path:
            raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)
        if path in self.tree.nodes:
            self._readable(path, identities)  # since 3.9.2 (ZOOKEEPER-4799)
        if request.watch:
            self.tree.watches.data.add(path, watcher)
        return self.tree.find(path).stat_bytes()

    def get_data(self, request: GetDataRequest, watcher: Watcher, identities: Sequence[Identity]) -> bytes:
        node = self._readable(request.path, identities)
        if request.watch:
            self.tree.watches.data.add(request.path or "", watcher)
        data = node.data
        if data is None:
            return _NULL + node.stat_bytes()
        return b"".join((_LENGTH.pack(len(data)), data, node.stat_bytes()))

    def get_children(
        self, request: GetChildrenRequest, watcher: Watcher, identities: Sequence[Identity]
    ) -> bytes:
        node = self._readable(request.path, identities)
        if request.watch:
            self.tree.watches.child.add(request.path or "", watcher)
        return node.listing_bytes()

    def get_children2(
        self, request: GetChildren2Request, watcher: Watcher, identities: Sequence[Identity]
    ) -> bytes:
        node = self._readable(request.path, identities)
        if request.watch:
            self.tree.watches.child.add(request.path or "", watcher)
        return node.listing_bytes() + node.stat_bytes()

    def get_acl(self, request: GetACLRequest, watcher: Watcher, identities: Sequence[Identity]) -> bytes:
        node = self._readable(request.path, identities, READ | ADMIN)
        acl = node.acl
        if self.access.skip or permits(acl, ADMIN, identities):
            return GetACLResponse(list(acl), node.stat()).encode()
        return GetACLResponse(masked(acl), node.stat()).encode()

    def get_all_children_number(
        self, request: GetAllChildrenNumberRequest, watcher: Watcher, identities: Sequence[Identity]
    ) -> bytes:
        self._readable(request.path, identities)
        return GetAllChildrenNumberResponse(self.tree.descendant_count(request.path or "")).encode()

    def get_ephemerals(
        self, request: GetEphemeralsRequest, watcher: Watcher, identities: Sequence[Identity]
    ) -> bytes:
        mine: Iterable[str] = self.tree.ephemerals.get(watcher.session_id, ())
        prefix = request.prefix_path
        # Java's trim takes away everything up to the blank.
        if prefix is not None and prefix.strip("".join(map(chr, range(33)))) not in ("", "/"):
            mine = [path for path in mine if path.startswith(prefix)]
        return GetEphemeralsResponse(list(mine)).encode()

    def multi_read(self, request: MultiRequest, watcher: Watcher, identities: Sequence[Identity]) -> bytes:
        results: list[MultiResult] = []
        try:
            for part in request.ops:
                results.append(self._read_one(part.op, part.request, watcher, identities))
        except ZooKeeperError as error:
            raise HalfWay(error.code, MultiResponse(results).encode()) from None
        return MultiResponse(results).encode()

    def _read_one(
        self, op: int, request: Any, watcher: Watcher, identities: Sequence[Identity]
    ) -> MultiResult:
        if op not in (OpCode.GET_DATA, OpCode.GET_CHILDREN):
            raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
        try:
            node = self._readable(request.path, identities)
        except ZooKeeperError as error:
            if error.code == ErrorCode.MARSHALLING_ERROR:
                raise
            return MultiResult(OpCode.ERROR, int(error.code), None)
        if op == OpCode.GET_DATA:
            return MultiResult(op, 0, GetDataResponse(node.data, node.stat()))
        return MultiResult(op, 0, GetChildrenResponse(list(node.children or ())))

    def sync(self, request: SyncRequest, watcher: Watcher, identities: Sequence[Identity]) -> bytes:
        # Neither that the node exists nor that it may be read is looked at; all before it is applied by now.
        return SyncResponse(request.path).encode()

    def ping(self, request: None, watcher: Watcher, identities: Sequence[Identity]) -> bytes:
        return b""

    def who_am_i(self, request: None, watcher: Watcher, identities: Sequence[Identity]) -> bytes:
        infos = []
        for scheme, id_ in identities:
            user = id_.partition(":")[0] if scheme == "digest" else id_ if scheme == "ip" else ""
            infos.append(ClientInfo(scheme, user))
        return WhoAmIResponse(infos).encode()

    # watches

    def add_watch(self, request: AddWatchRequest, watcher: Watcher, identities: Sequence[Identity]) -> bytes:
        if request.mode not in (0, 1):
            raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR, request.path)
        mode = RECURSIVE if request.mode == 1 else PERSISTENT
        self.tree.watches.add_persistent(request.path or "", watcher, mode)
        return _NO_ERROR  # without these four bytes Curator's CuratorCache reconnects for ever

    def check_watches(
        self, request: CheckWatchesRequest, watcher: Watcher, identities: Sequence[Identity]
    ) -> bytes:
        kind, path = _known_type(request.type, request.path), request.path or ""
        watches = self.tree.watches
        data = kind in _DATA_TABLE and watches.data.contains(path, watcher, _DATA_TABLE[kind])
        # Persistent watches stand in both tables; Apache looks for them in the data watches only.
        child = kind in (1, 3) and watches.child.contains(path, watcher, _CHILD_TABLE[kind])
        if not (data or child):
            raise ZooKeeperError(ErrorCode.NO_WATCHER, path)
        return b""

    def remove_watches(
        self, request: RemoveWatchesRequest, watcher: Watcher, identities: Sequence[Identity]
    ) -> bytes:
        kind, path = _known_type(request.type, request.path), request.path or ""
        watches = self.tree.watches
        child = kind in _CHILD_TABLE and watches.child.remove(path, watcher, _CHILD_TABLE[kind])
        data = kind in _DATA_TABLE and watches.data.remove(path, watcher, _DATA_TABLE[kind])
        if not (data or child):
            raise ZooKeeperError(ErrorCode.NO_WATCHER, path)
        return b""

    def set_watches(
        self, request: SetWatches | SetWatches2, watcher: Watcher, identities: Sequence[Identity]
    ) -> bytes:
        """Set the watches anew after a reconnect; what they missed is told at once, before the reply.

        Such events have zxid -1 and ask for no permission (``DataTree.setWatches``).
        """
        seen, nodes, watches = request.relative_zxid, self.tree.nodes, self.tree.watches
        for path in _paths(request.data_watches):
            node = nodes.get(path)
            if node is None:
                watcher.notify(EventType.NODE_DELETED, path, -1, None)
            elif node.mzxid > seen:
                watcher.notify(EventType.NODE_DATA_CHANGED, path, -1, None)
            else:
                watches.data.add(path, watcher)
        for path in _paths(request.exist_watches):
            if path in nodes:
                watcher.notify(EventType.NODE_CREATED, path, -1, None)
            else:
                watches.data.add(path, watcher)
        for path in _paths(request.child_watches):
            node = nodes.get(path)
            if node is None:
                watcher.notify(EventType.NODE_DELETED, path, -1, None)
            elif node.pzxid > seen:
                watcher.notify(EventType.NODE_CHILDREN_CHANGED, path, -1, None)
            else:
                watches.child.add(path, watcher)
        if isinstance(request, SetWatches2):
            for path in _paths(request.persistent_watches):
                watches.add_persistent(path, watcher, PERSISTENT)
            for path in _paths(request.persistent_recursive_watches):
                watches.add_persistent(path, watcher, RECURSIVE)
        return b""


def _known_type(kind: int, path: str | None) -> int:
    if kind not in (1, 2, 3, 4, 5):
        raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR, path)
    return kind


def _paths(paths: Sequence[str | None] | None) -> Iterable[str]:
    """A null list or a null in it is what Apache stumbles over, after it has done what stands before it."""
    if paths is None:
        raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
    for path in paths:
        if path is None:
            raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
        yield path
