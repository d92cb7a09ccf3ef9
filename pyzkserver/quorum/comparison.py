"""Whether a learner's tree is its leader's, by the digests that transactions bring (``DataTree.compareDigest``)."""

import logging

from pyzkserver.state.tree import DataTree

__all__ = ["Comparison"]

logger = logging.getLogger("pyzkserver.quorum")


class Comparison:
    """Whoever takes what the leader says in batches compares after each: a parent that got a hundred children is
    counted once.
    """

    def __init__(self, tree: DataTree) -> None:
        self._tree = tree
        self._told = False
        self.enabled = False
        self.applied: tuple[int, int | None] = (0, None)
        """The last transaction that was applied, and the digest that the leader's tree had after it."""

    def compare(self) -> None:
        """Say once if they differ."""
        zxid, digest = self.applied
        if digest is None or not self.enabled:
            return
        self.applied = (zxid, None)
        tree = self._tree
        if tree.digest.enabled and not self._told and tree.digest.value() != digest:
            self._told = True
            logger.error(
                "after transaction 0x%x this member's tree differs from the leader's (digest 0x%x, the leader's"
                " 0x%x): stop this member, move its data directory away, and let it take the leader's tree",
                zxid,
                tree.digest.value(),
                digest,
            )
