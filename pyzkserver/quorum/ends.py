"""How a role, or a connection between members, ends: by an exception."""

from pyzkserver.errors import PyzkserverError

__all__ = [
    "LeaderLost",
    "LearnerGone",
    "LearnerRefused",
    "QuorumLost",
    "Reconfigured",
    "first_of",
    "new_leader",
]


class QuorumLost(PyzkserverError):
    """A leader's role ends: too few members are with it, or its epoch is used up."""


class LeaderLost(PyzkserverError):
    """A learner's role ends: its leader is gone, or cannot be followed."""


class Reconfigured(PyzkserverError):
    """A role ends because the members changed: the next one begins at once, under ``leader``.

    Nobody has to be elected: the leader before chose one that holds everything (``processReconfig``).
    """

    def __init__(self, reason: str, leader: int) -> None:
        super().__init__(reason)
        self.leader = leader


class LearnerRefused(PyzkserverError):
    """A learner's connection ends, and nothing else: it cannot follow this leader, or does not behave."""


class LearnerGone(LearnerRefused):
    """A learner's connection ended, and it did nothing wrong."""


def first_of(group: BaseException) -> BaseException:
    """What a nursery's wrapping holds: of several that came of one cause, one."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def new_leader(group: BaseException) -> int | None:
    """Who leads from now on, if that is why a role ended; whatever else broke with it."""
    if isinstance(group, Reconfigured):
        return group.leader
    for each in group.exceptions if isinstance(group, BaseExceptionGroup) else ():
        leader = new_leader(each)
        if leader is not None:
            return leader
    return None
