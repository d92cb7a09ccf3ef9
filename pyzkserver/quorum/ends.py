"""How a role, or a connection between members, ends: by an exception."""

from pyzkserver.errors import PyzkserverError

__all__ = ["LeaderLost", "LearnerRefused", "QuorumLost", "first_of"]


class QuorumLost(PyzkserverError):
    """A leader's role ends: too few members are with it, or its epoch is used up."""


class LeaderLost(PyzkserverError):
    """A learner's role ends: its leader is gone, or cannot be followed."""


class LearnerRefused(PyzkserverError):
    """A learner's connection ends, and nothing else: it cannot follow this leader, or does not behave."""


def first_of(group: BaseException) -> BaseException:
    """What a nursery's wrapping holds: of several that came of one cause, one."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
