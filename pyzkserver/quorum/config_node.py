"""/zookeeper/config: the configuration as clients can read and watch it (``DataTree.initConfig``)."""

from pyzkserver.state.paths import CONFIG_NODE
from pyzkserver.state.tree import DataTree

from .members import Members

__all__ = ["furnish_config"]


def furnish_config(tree: DataTree, members: Members, wall_ms: int) -> None:
    """Let the node show these members.

    Outside of any transaction, as every member has its own configuration to show; below /zookeeper the digest
    does not look.
    """
    node = tree.nodes[CONFIG_NODE]
    data = str(members).encode()
    tree.data_size += len(data) - len(node.data or b"")
    node.data = data
    node.version = -1
    node.mzxid = members.version
    node.mtime = wall_ms
    node.changed()
