"""Quotas: the numbers in zookeeper_limits and zookeeper_stats, and which subtrees have them.

Soft limits (count, bytes) are only logged by Apache; hard ones refuse a write where enforceQuota is set.
"""

import re
from dataclasses import dataclass, field

__all__ = ["QuotaPaths", "StatsTrack"]

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


class QuotaPaths:
    """The paths that have a quota (``PathTrie``)."""

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
