"""What ``pyzkserver snapshot`` says of single nodes, and of the subtrees that they make.

Which of it is asked for, and where it is printed, is in ``snapshot.py``.
"""

from collections.abc import Iterator
from typing import Any

from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.node import Node
from pyzkserver.state.tree import DataTree

from .forms import acl_form, acl_text, data_form, data_text, hex64, owner_fields, path_text, time_form

__all__ = ["node_fields", "node_line", "sums", "walk"]


def walk(tree: DataTree, top: str) -> Iterator[tuple[str, Node]]:
    """This node and all below it, in the order of their names."""
    waiting = [top]
    while waiting:
        path = waiting.pop()
        node = tree.nodes[path]
        yield path, node
        above = "" if path == "/" else path
        waiting += [f"{above}/{name}" for name in sorted(node.children or (), reverse=True)]


def node_fields(path: str, node: Node, with_data: bool) -> dict[str, Any]:
    """What there is to say of a node, by the names that JSON has for it; zxids and times as text."""
    told: dict[str, Any] = {
        "path": path,
        "czxid": hex64(node.czxid),
        "mzxid": hex64(node.mzxid),
        "pzxid": hex64(node.pzxid),
        "ctime": time_form(node.ctime),
        "mtime": time_form(node.mtime),
        "version": node.version,
        "cversion": node.cversion,
        "aversion": node.aversion,
        **owner_fields(node.ephemeral_owner),
        "acl": acl_form(node.acl),
        "dataLength": len(node.data or b""),
        "numChildren": node.child_count,
    }
    if with_data:
        told["data"] = data_form(node.data)
    return told


def node_line(path: str, node: Node, with_data: bool) -> str:
    """The same for people, in one line; an ACL that is open to all is not mentioned."""
    told = node_fields(path, node, False)
    del told["path"], told["acl"]
    words = [path_text(path), *(f"{key} {value}" for key, value in told.items())]
    if node.acl != OPEN_ACL:
        words.append(f"acl {acl_text(node.acl)}")
    if with_data:
        words.append(f"data {data_text(node.data, None)}")
    return " ".join(words)


def sums(tree: DataTree, top: str, deepest: int) -> list[tuple[str, int, int, int]]:
    """(path, depth, nodes, bytes) of the subtrees whose top has children, each before those in it."""
    sums: list[list[Any]] = []
    open_sums: list[list[Any]] = []  # of the nodes above the one that is looked at
    base = 0 if top == "/" else top.count("/")
    for path, node in walk(tree, top):
        depth = 0 if path == top else path.count("/") - base
        del open_sums[depth:]
        mine = [path, depth, 0, 0]
        open_sums.append(mine)
        for each in open_sums:
            each[2] += 1
            each[3] += len(node.data or b"")
        if node.children and (not deepest or depth <= deepest):
            sums.append(mine)
    return [(path, depth, nodes, size) for path, depth, nodes, size in sums]
