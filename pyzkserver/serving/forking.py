"""What a forked child must not keep: the sockets of servers that go on in its parent.

A connection that two processes hold is open until both have closed it: a client that the server lets go of
would not notice, and nobody could listen on the port again.
"""

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["left_to_the_parent"]


class Abandonable(Protocol):
    """What holds descriptors."""

    def abandon(self) -> None:
        """Close them in this process, and say nothing to anybody."""

    def __hash__(self) -> int: ...


_holders: "WeakSet[Abandonable]" = WeakSet()


def left_to_the_parent(holder: Abandonable) -> None:
    """From now on a forked child begins with having this abandon what it holds."""
    _holders.add(holder)


def _abandon_all() -> None:
    for holder in list(_holders):
        holder.abandon()
    _holders.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
