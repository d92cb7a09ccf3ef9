"""Quotas: the numbers in zookeeper_limits and zookeeper_stats, and which subtrees have them.

Soft limits (count, bytes) are only logged by Apache; hard ones refuse a write where enforceQuota is set.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .node import Node
from .paths import LIMIT_NODE, QUOTA_NODE, STAT_NODE

__all__ = ["Quotas", "StatsTrack"]

logger = logging.getLogger("pyzkserver.tree")

_PAIRS = re.compile("[,;]+")
_LONG = re.compile(r"[+-]?\d+\Z")


@dataclass
class StatsTrack:
    """``count=2,bytes=-1=;byteHardLimit=-1;countHardLimit=-1`` (``StatsTrack`` in Apache)."""

    values: dict[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes | None) -> "StatsTrack":
        """Raises ValueError for what is no such text; Apache's server stumbles over that."""
        if data is None:
            raise ValueError("no data")
        text = data.decode("utf-8", "replace")
        track = cls()
        if not text:
            return track
        for pair in _strip_empty(_PAIRS.split(text)):
            parts = _strip_empty(pair.split("="))
            if len(parts) < 2 or (parts[1] and not _LONG.match(parts[1])):
                raise ValueError(f"{pair!r} is not key=number")
            value = int(parts[1] or "-1")
            if not -(1 << 63) <= value < 1 << 63:
                raise ValueError(f"{pair!r} is beyond 64 bits")
            track.values[parts[0]] = value
        return track

    def __getitem__(self, key: str) -> int:
        return self.values.get(key, -1)

    def add(self, count: int, size: int) -> None:
        """Count nodes and bytes in (or, negative, out)."""
        self.values["count"] = self["count"] + count
        self.values["bytes"] = self["bytes"] + size

    def encode(self) -> bytes:
        """The text, count and bytes first; the ``=`` before the rest hides it from old readers."""
        text = f"count={self['count']},bytes={self['bytes']}"
        others = sorted(self.values.keys() - {"count", "bytes"})
        if others:
            text += "=" + "".join(f";{key}={self.values[key]}" for key in others)
        return text.encode()


def _strip_empty(parts: list[str]) -> list[str]:
    # Java's split drops empty strings at the end.
    while parts and not parts[-1]:
        parts.pop()
    return parts


class Quotas:
    """The paths that have a quota (``PathTrie``), and what is counted there in their stat nodes."""

    def __init__(self) -> None:
        self.paths: dict[str, None] = {}

    def add(self, path: str) -> None:
        """This subtree has a quota from now on."""
        self.paths[path] = None

    def discard(self, path: str) -> None:
        """It has none any more."""
        self.paths.pop(path, None)

    def covering(self, path: str) -> str | None:
        """The longest path with a quota at or above ``path``.  A quota on the root does not count."""
        if not self.paths:
            return None
        while len(path) > 1:
            if path in self.paths:
                return path
            path = path[: path.rfind("/")]
        return None

    def set_up(self, nodes: Mapping[str, Node]) -> None:
        """All nodes were read at once: which subtrees have a quota, and what is in them (``DataTree.setupQuota``)."""
        waiting = [QUOTA_NODE]
        while waiting:
            path = waiting.pop()
            node = nodes.get(path)
            children = node.children if node is not None else None
            waiting += [f"{path}/{name}" for name in children or ()]
            if not children and path.endswith("/" + LIMIT_NODE):
                top = path[len(QUOTA_NODE) : -len("/" + LIMIT_NODE)]
                if f"{QUOTA_NODE}{top}/{STAT_NODE}" in nodes:
                    self.recount(nodes, top)
                self.add(top)

    def node_created(self, nodes: Mapping[str, Node], parent_path: str, name: str) -> None:
        """One of the two nodes that make a quota has appeared."""
        path = parent_path[len(QUOTA_NODE) :]
        if name == LIMIT_NODE:
            self.add(path)
        elif name == STAT_NODE:
            self.recount(nodes, path)

    def recount(self, nodes: Mapping[str, Node], path: str) -> None:
        """What stands under the quota when its stat node appears."""
        top = nodes.get(path)
        stat = nodes[f"{QUOTA_NODE}{path}/{STAT_NODE}"]
        track = StatsTrack({"count": 0, "bytes": 0})
        waiting = [top] if top is not None else []
        names = [path]
        while waiting:
            node, here = waiting.pop(), names.pop()
            track.add(1, len(node.data) if node.data else 0)
            for name in node.children or ():
                child = nodes[f"{here}/{name}"]
                waiting.append(child)
                names.append(f"{here}/{name}")
        stat.data = track.encode()
        stat.changed()

    def count(self, nodes: Mapping[str, Node], path: str, count: int, size: int) -> None:
        """A change below a quota: its stat node tells.  No version and no event comes of that."""
        covered = self.covering(path)
        if covered is None:
            return
        stat = nodes.get(f"{QUOTA_NODE}{covered}/{STAT_NODE}")
        if stat is None:
            logger.error("the quota on %s has no %s to count in", covered, STAT_NODE)
            return
        try:
            track = StatsTrack.parse(stat.data)
        except ValueError as reason:
            # Apache's server dies of this one.
            logger.error("the %s of %s cannot be read, so it is not counted: %s", STAT_NODE, covered, reason)
            return
        track.add(count, size)
        stat.data = track.encode()
        stat.changed()
