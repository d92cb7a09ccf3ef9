"""How a role, or a connection between members, ends: by an exception."""

from pyzkserver.errors import PyzkserverError

__all__ = ["LeaderLost", "LearnerRefused", "QuorumLost"]


class QuorumLost(PyzkserverError):
    """A leader's role ends: too few members are with it, or its epoch is used up."""


class LeaderLost(PyzkserverError):
    """A learner's role ends: its leader is gone, or cannot be followed."""


class LearnerRefused(PyzkserverError):
    """A learner's connection ends, and nothing else: it cannot follow this leader, or does not behave."""
