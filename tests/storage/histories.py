"""Histories: random transactions that a server could have written, and how two trees are compared."""

from collections.abc import Iterator
from random import Random
from typing import Any

from pyzkserver.state.acl import OPEN_ACL, Acl
from pyzkserver.state.node import Node
from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.wire.jute import Record
from pyzkserver.wire.records import ACL, Id
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import (
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    SetACLTxn,
    SetDataTxn,
)

SPECIAL = {"", "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"}
QUOTA = "/zookeeper/quota"
NAMES = ("a", "b", "c", "d", "é", "中")
BEGINNING = 1_700_000_000_000  # ms since 1970


class History:
    """A tree with sessions, and everything that ever happened to it."""

    def __init__(
        self, seed: int, *, digest_enabled: bool = True, quotas: bool = True, shortest_timeout: int = 4000
    ) -> None:
        self.random = Random(seed)
        self.quotas = quotas
        self.shortest_timeout = shortest_timeout
        self.tree = DataTree(extended_types=True, digest_enabled=digest_enabled)
        self.sessions: dict[int, int] = {}
        self.txns: list[Transaction] = []
        self.digests: list[int] = []
        """What the tree's digest was after each."""
        self.zxid = 0x1_0000_0000
        self.planned: list[tuple[str, str]] = []
        """What comes next: (create or delete, path)."""
        self.acls = [OPEN_ACL, Acl([ACL(31, Id("digest", "ann:hash"))]), Acl([])]

    def run(self, count: int) -> None:
        """Let so many transactions happen."""
        for _ in range(count):
            self.step()

    def step(self) -> Transaction:
        """Let one more happen."""
        op, body, session_id = self._any()
        self.zxid += 1
        txn = Transaction(session_id, self.random.randrange(100), self.zxid, self._now(), op, body)
        self.txns.append(txn)
        apply(txn, self.tree, self.sessions)
        self.digests.append(self.tree.digest.value())
        return txn

    def _now(self) -> int:
        return BEGINNING + self.zxid % 1000 * 10 + self.random.randrange(10)

    def _any(self) -> tuple[int, Record | MultiBody | None, int]:
        if self.planned:
            kind, path = self.planned.pop(0)
            above = path.rpartition("/")[0]
            if kind == "delete":
                return OpCode.DELETE, DeleteTxn(path), 0
            cversion = self.tree.nodes[above].cversion + 1
            return OpCode.CREATE, CreateTxn(path, b"count=9,bytes=-1", OPEN_ACL, False, cversion), 0
        kinds = ("create", "delete", "data", "acl", "multi", "open", "close", "error", "quota")
        kind = self.random.choices(kinds, (30, 16, 14, 12, 8, 3, 3, 2, 2))[0]
        session_id = self.random.choice([0, *self.sessions])
        if kind == "open":
            body = CreateSessionTxn(self.shortest_timeout + self.random.randrange(36_000))
            return OpCode.CREATE_SESSION, body, self._new_session()
        if kind == "close" and session_id:
            # Without the paths, as before 3.6, a fuzzy snapshot could not be made whole (ZOOKEEPER-3145).
            paths = list(self.tree.ephemerals.get(session_id, ()))
            return OpCode.CLOSE_SESSION, CloseSessionTxn(paths), session_id
        if kind == "quota" and self.quotas:
            self._plan_quota()
        if kind == "multi":
            return OpCode.MULTI, self._multi(session_id), session_id
        made = self._one(kind, session_id, set(), {}) if kind in ("create", "delete", "data", "acl") else None
        if made and self.random.random() < 0.3:
            # Not in a multi: there Apache's 3.8 knows neither create2 nor deleteContainer.
            others = {OpCode.CREATE: OpCode.CREATE2, OpCode.DELETE: OpCode.DELETE_CONTAINER}
            made = others.get(OpCode(made[0]), made[0]), made[1]
        return (*made, session_id) if made else (OpCode.ERROR, ErrorTxn(-110), session_id)

    def _plan_quota(self) -> None:
        """As ``setquota`` and ``delquota`` do it."""
        path = f"{QUOTA}/{self.random.choice('ab')}"
        nodes = [path, f"{path}/zookeeper_limits", f"{path}/zookeeper_stats"]
        if path in self.tree.nodes:
            self.planned = [("delete", each) for each in reversed(nodes)]
        else:
            self.planned = [("create", each) for each in nodes]

    def _new_session(self) -> int:
        return (0x10 << 56 | self.zxid) if self.random.random() < 0.5 else -(1 << 62) + self.zxid

    def _multi(self, session_id: int) -> MultiBody:
        if self.random.random() < 0.2:
            return MultiBody([(int(OpCode.ERROR), ErrorTxn(error)) for error in (0, -101, -2)])
        ops: list[tuple[int, Record]] = []
        taken: set[str] = set()
        created: dict[str, int] = {}
        for _ in range(self.random.randrange(4)):
            kind = self.random.choice(("create", "delete", "data", "check"))
            made = self._one(kind, session_id, taken, created)
            if made:
                ops.append(made)
        return MultiBody(ops)

    def _one(
        self, kind: str, session_id: int, taken: set[str], created: dict[str, int]
    ) -> tuple[int, Record] | None:
        """One change, of a node that no other part of the same multi has to do with."""
        if kind == "create":
            return self._create(session_id, taken, created)
        paths = [
            path for path in self.tree.nodes if path and path not in taken and not path.startswith(QUOTA)
        ]
        if kind == "delete":
            paths = [path for path in paths if path not in SPECIAL and not self.tree.nodes[path].children]
        if not paths:
            return None
        path = self.random.choice(paths)
        taken |= {path, path.rpartition("/")[0]}
        node = self.tree.nodes[path]
        if kind == "delete":
            return OpCode.DELETE, DeleteTxn(path)
        if kind == "acl":
            return OpCode.SET_ACL, SetACLTxn(path, self._acl(), node.aversion + 1)
        if kind == "check":
            return OpCode.CHECK, CheckVersionTxn(path, node.version)
        return OpCode.SET_DATA, SetDataTxn(path, self._data(), node.version + 1)

    def _create(self, session_id: int, taken: set[str], created: dict[str, int]) -> tuple[int, Record] | None:
        path = self._new_path(taken - set(created))
        if path is None:
            return None
        above = path.rpartition("/")[0]
        created[above] = created.get(above, self.tree.nodes[above].cversion) + 1
        taken |= {path, above}
        data, acl = self._data(), self._acl()
        kind = self.random.random()
        if kind < 0.15:
            return OpCode.CREATE_CONTAINER, CreateContainerTxn(path, data, acl, created[above])
        if kind < 0.3:
            ttl = self.random.choice((1, 60_000, (1 << 40) - 1))
            return OpCode.CREATE_TTL, CreateTTLTxn(path, data, acl, created[above], ttl)
        ephemeral = session_id != 0 and kind < 0.55
        return OpCode.CREATE, CreateTxn(path, data, acl, ephemeral, created[above])

    def _new_path(self, taken: set[str]) -> str | None:
        for _ in range(5):
            above = self.random.choice(list(self.tree.nodes))
            path = f"{above}/{self.random.choice(NAMES)}"
            if above.startswith("/zookeeper") or above == "/" or above.count("/") > 3:
                continue
            if self.tree.nodes[above].shown_owner or path in self.tree.nodes or {path, above} & taken:
                continue
            return path
        return None

    def _data(self) -> bytes | None:
        return self.random.choice((None, b"", b"x", self.random.randbytes(self.random.randrange(40))))

    def _acl(self) -> Any:
        if self.random.random() < 0.2:
            self.acls.append(Acl([ACL(self.random.randrange(32), Id("digest", f"user{len(self.acls)}:x"))]))
        acl = self.random.choice(self.acls)
        # As it comes from a log, and not as it is shared.
        return acl if self.random.random() < 0.5 else list(acl)


def apply(txn: Transaction, tree: DataTree, sessions: dict[int, int]) -> None:
    """What a server does with a transaction, live or when it replays its log."""
    if isinstance(txn.body, CreateSessionTxn):
        sessions[txn.session_id] = txn.body.time_out
    elif txn.op == OpCode.CLOSE_SESSION:
        sessions.pop(txn.session_id, None)
    tree.apply(txn)


def appearance(tree: DataTree) -> dict[str, Any]:
    """Everything about a tree that must survive.

    Not its data_size: what quotas write into their nodes is not counted before the tree is read again.
    """
    tree.digest.value()
    return {
        "nodes": {path: node_appearance(node) for path, node in tree.nodes.items()},
        "ephemerals": {owner: set(paths) for owner, paths in tree.ephemerals.items()},
        "containers": set(tree.containers),
        "ttl": set(tree.ttl_nodes),
        "quotas": set(tree.quotas.paths),
        "digest": tree.digest.value(),
        "last_zxid": tree.last_zxid,
        "same root": tree.nodes[""] is tree.nodes["/"],
    }


def node_appearance(node: Node) -> tuple[Any, ...]:
    acl = [(entry.perms, entry.id.scheme, entry.id.id) for entry in node.acl]
    stat = node.stat()
    return (node.data, acl, stat, node.cversion, node.ephemeral_owner, set(node.children or ()), node.digest)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """The same bytes in chunks."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
