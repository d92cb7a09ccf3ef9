"""/zookeeper/config: the configuration as clients can read and watch it (``DataTree.initConfig``)."""

from pyzkserver.errors import ConfigError
from pyzkserver.state.paths import CONFIG_NODE
from pyzkserver.state.tree import DataTree

from .members import Members

__all__ = ["furnish_config", "shown_config"]


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


def shown_config(tree: DataTree) -> Members | None:
    """What the node shows: a leader's tree has there what is in force; None where that is nothing."""
    data = tree.nodes[CONFIG_NODE].data
    try:
        return Members.parse(data.decode("utf-8", "replace"), CONFIG_NODE) if data else None
    except ConfigError:
        return None
