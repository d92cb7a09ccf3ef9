"""All that a tree holds, kept aside in memory, and put back: what a test's server is reset to.

Watches are the connections', not the tree's: those stay, and are told of what putting back changed.
"""

from pyzkserver.wire.records import EventType

from .acl import Acl
from .node import Node
from .paths import split_parent
from .tree import DataTree

__all__ = ["Savepoint"]

_CREATED = EventType.NODE_CREATED
_DELETED = EventType.NODE_DELETED
_DATA_CHANGED = EventType.NODE_DATA_CHANGED
_CHILDREN_CHANGED = EventType.NODE_CHILDREN_CHANGED


class Savepoint:
    """A tree as it was.  It is never changed, so it can be put back as often as one likes.

    ``nodes`` hold copies; parents stand before their children, as in the tree itself.  ``lineage`` is the tree's:
    in one that still has it, what has the same zxids is the same.
    """

    def __init__(self, tree: DataTree) -> None:
        self.lineage = tree.lineage
        self.digest = tree.digest.value()
        self.nodes = {path: _copy_of(node) for path, node in tree.nodes.items() if path != "/"}
        self.ephemerals = {owner: dict(paths) for owner, paths in tree.ephemerals.items()}
        self.containers = dict(tree.containers)
        self.ttl_nodes = dict(tree.ttl_nodes)
        self.quotas = dict(tree.quotas.paths)
        self.data_size = tree.data_size
        self.last_zxid = tree.last_zxid

    def put_back(self, tree: DataTree, zxid: int) -> None:
        """Make the tree as it was, and tell its watchers of every difference, under ``zxid``.

        Zxids on the nodes are those of then; the tree's own does not go back, for clients who have seen more than
        a server knows are refused.  Where ``zxid`` is below it, nobody may be watching.
        """
        gone = [path for path in tree.nodes if path not in self.nodes and path != "/"]
        lost = {path: tree.nodes.pop(path).acl for path in reversed(gone)}  # children first
        made, changed = self._put_nodes_back(tree, same_lineage=tree.lineage is self.lineage)
        tree.nodes["/"] = tree.nodes[""]
        tree.ephemerals = {owner: dict(paths) for owner, paths in self.ephemerals.items()}
        tree.containers, tree.ttl_nodes = dict(self.containers), dict(self.ttl_nodes)
        tree.quotas.paths = dict(self.quotas)
        tree.data_size = self.data_size
        tree.digest.carry(self.digest)
        if tree.digest.touched is not None:
            tree.digest.touched.clear()
        tree.last_zxid = max(tree.last_zxid, zxid)
        if tree.lineage is not self.lineage:
            tree.lineage = object()  # its zxids may now mean what they meant to nobody
        if tree.watches.data.by_path or tree.watches.child.by_path:
            _tell(tree, zxid, lost, made, changed)

    def _put_nodes_back(
        self, tree: DataTree, *, same_lineage: bool
    ) -> tuple[list[str], list[tuple[str, bool, bool]]]:
        """The paths that are there again, and those whose (data, children) are others than a moment ago."""
        nodes = tree.nodes
        made: list[str] = []
        changed: list[tuple[str, bool, bool]] = []
        for path, saved in self.nodes.items():
            node = nodes.get(path)
            if node is None:
                nodes[path] = _copy_of(saved)
                made.append(path)
            elif (
                # Whatever changes a node gives it a new zxid, or a version; quotas count in new data.
                node.mzxid != saved.mzxid
                or node.pzxid != saved.pzxid
                or node.data is not saved.data
                or node.acl is not saved.acl
                or node.aversion != saved.aversion
                or not same_lineage
            ):
                other_data = node.mzxid != saved.mzxid or node.data != saved.data
                other_children = node.pzxid != saved.pzxid or node.children != saved.children
                changed.append((path, other_data, other_children))
                node.become(saved)
        return made, changed


def _copy_of(node: Node) -> Node:
    copy = Node.__new__(Node)
    copy.become(node)
    return copy


def _tell(
    tree: DataTree, zxid: int, lost: dict[str, Acl], made: list[str], changed: list[tuple[str, bool, bool]]
) -> None:
    """Watchers hear what they would have heard of transactions that had done the same."""
    data, child = tree.watches.data, tree.watches.child
    for path, acl in lost.items():
        told = data.trigger(path, _DELETED, zxid, acl)
        child.trigger(path, _DELETED, zxid, acl, told)
        parent = split_parent(path)[0]
        parent_acl = lost[parent] if parent in lost else tree.nodes[parent].acl
        child.trigger(parent or "/", _CHILDREN_CHANGED, zxid, parent_acl)
    for path in made:
        parent = split_parent(path)[0]
        data.trigger(path, _CREATED, zxid, tree.nodes[path].acl)
        child.trigger(parent or "/", _CHILDREN_CHANGED, zxid, tree.nodes[parent].acl)
    for path, other_data, other_children in changed:
        acl = tree.nodes[path].acl
        if other_data:
            data.trigger(path or "/", _DATA_CHANGED, zxid, acl)
        if other_children:
            child.trigger(path or "/", _CHILDREN_CHANGED, zxid, acl)
