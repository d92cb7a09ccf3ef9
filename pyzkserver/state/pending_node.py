"""One node as it will be once everything proposed is applied (``ChangeRecord`` in Apache).

Which nodes these are is said in ``pending.py``; nothing is decided here.
"""

from typing import Protocol

from .acl import Acl
from .node import Node

__all__ = ["NodeLike", "PendingNode"]


class NodeLike(Protocol):
    """What ``prepare`` may ask of a node, applied or pending."""

    @property
    def data(self) -> bytes | None: ...
    @property
    def acl(self) -> Acl: ...
    @property
    def version(self) -> int: ...
    @property
    def cversion(self) -> int: ...
    @property
    def aversion(self) -> int: ...
    @property
    def ephemeral_owner(self) -> int: ...
    @property
    def child_count(self) -> int: ...


class PendingNode:
    """A node as it will be once everything proposed is applied; or that there will be none."""

    __slots__ = (
        "acl",
        "aversion",
        "child_count",
        "ctime",
        "cversion",
        "czxid",
        "data",
        "digest",
        "ephemeral_owner",
        "exists",
        "mtime",
        "mzxid",
        "pzxid",
        "version",
        "zxid",
    )

    def __init__(self) -> None:
        self.exists = False
        self.zxid = 0
        """The last transaction that changes it."""
        self.data: bytes | None = None
        self.acl: Acl
        self.czxid = self.mzxid = self.pzxid = 0
        self.ctime = self.mtime = 0
        self.version = self.cversion = self.aversion = 0
        self.ephemeral_owner = self.child_count = 0
        self.digest = 0
        """Its share of the tree's digest when that was counted last."""

    @classmethod
    def like(cls, node: "Node | PendingNode") -> "PendingNode":
        """A copy, to be changed."""
        copy = cls()
        copy.exists = True
        copy.data, copy.acl = node.data, node.acl
        copy.czxid, copy.mzxid, copy.pzxid = node.czxid, node.mzxid, node.pzxid
        copy.ctime, copy.mtime = node.ctime, node.mtime
        copy.version, copy.cversion, copy.aversion = node.version, node.cversion, node.aversion
        copy.ephemeral_owner, copy.child_count = node.ephemeral_owner, node.child_count
        copy.digest = node.digest
        return copy
