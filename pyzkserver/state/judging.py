"""What the judgements of ``prepare`` are made of: whose session it is, which node, whether they may.

Each question is asked once here, for whichever requests ask it; the order of the questions is ``prepare``'s.
"""

from collections.abc import Sequence
from typing import Protocol

from pyzkserver.errors import ErrorCode, ZooKeeperError

from .acl import AccessRules, Identity, check
from .node import NodeKind, kind_of
from .paths import LIMIT_NODE, QUOTA_NODE, STAT_NODE
from .pending import Pending
from .pending_node import NodeLike
from .quota import StatsTrack
from .sessions import ANYBODY, SessionTable

__all__ = ["Asker", "Judging", "Rules"]


class Rules:
    """What is configured of how requests are judged."""

    def __init__(
        self,
        access: AccessRules | None = None,
        *,
        extended_types: bool = False,
        enforce_quota: bool = False,
        close_session_txn: bool = True,
        reconfig_enabled: bool = False,
        ensemble: bool = False,
        local_sessions: bool = False,
    ) -> None:
        self.access = access or AccessRules()
        self.extended_types = extended_types
        self.enforce_quota = enforce_quota
        self.close_session_txn = close_session_txn
        self.reconfig_enabled = reconfig_enabled
        self.ensemble = ensemble
        """Other members bring requests as well."""
        self.local_sessions = local_sessions


class Asker(Protocol):
    """On whose behalf a request is judged, under which zxid and when (ms since 1970) it would happen."""

    @property
    def session_id(self) -> int: ...
    @property
    def identities(self) -> Sequence[Identity]: ...
    @property
    def zxid(self) -> int: ...
    @property
    def time(self) -> int: ...
    @property
    def holder(self) -> object:
        """Through whom the request came: a learner, or None (``Session.holder``)."""


class Judging:
    """The questions, asked of the tree and of what is proposed but not applied.  Each raises ZooKeeperError."""

    def __init__(self, pending: Pending, sessions: SessionTable, rules: Rules) -> None:
        self.pending = pending
        self.sessions = sessions
        self.rules = rules

    def _judge_session(self, asker: Asker) -> None:
        session = self.sessions.by_id.get(asker.session_id)
        if session is None and self.rules.ensemble:
            if self.rules.local_sessions and self.sessions.is_of_another(asker.session_id):
                return  # a local session of that member, as far as can be known here
            raise ZooKeeperError(ErrorCode.SESSION_EXPIRED)
        if session is None or session.closing:
            code = ErrorCode.UNKNOWN_SESSION if session is None else ErrorCode.SESSION_EXPIRED
            raise ZooKeeperError(code)
        if session.holder is not asker.holder:
            if session.holder is not ANYBODY:
                raise ZooKeeperError(ErrorCode.SESSION_MOVED)
            session.holder = asker.holder

    def _judge_global(self, asker: Asker) -> None:
        """An ephemeral node must have a session that all members know (``checkGlobalSession``)."""
        session = self.sessions.by_id.get(asker.session_id)
        if session is None or session.closing:
            raise ZooKeeperError(ErrorCode.SESSION_EXPIRED)
        if session.local:
            raise ZooKeeperError(ErrorCode.EPHEMERAL_ON_LOCAL_SESSION)

    def _node(self, where: str, path: str) -> NodeLike:
        node = self.pending.find(where)
        if node is None:
            raise ZooKeeperError(ErrorCode.NO_NODE, path)
        return node

    def _permit(self, node: NodeLike, perms: int, asker: Asker, path: str) -> None:
        if not node.acl.world & perms and not self.rules.access.skip:
            check(node.acl, perms, asker.identities, path)

    def _kind(self, node: NodeLike) -> NodeKind:
        return kind_of(node.ephemeral_owner, self.rules.extended_types)

    def _judge_quota(self, path: str, count: int, size: int) -> None:
        """Refuse what a hard limit forbids (``ZooKeeperServer.checkQuota``)."""
        tree = self.pending.tree
        covered = tree.quotas.covering(path)
        if covered is None:
            return
        limit_node = tree.nodes.get(f"{QUOTA_NODE}{covered}/{LIMIT_NODE}")
        stat_node = tree.nodes.get(f"{QUOTA_NODE}{covered}/{STAT_NODE}")
        if limit_node is None:
            return
        try:
            # They must be readable, though nothing were counted yet.
            limits = StatsTrack.parse(limit_node.data)
            if stat_node is None:
                return
            used = StatsTrack.parse(stat_node.data)
        except ValueError as reason:
            raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR, path) from reason
        hard_count, hard_size = limits["countHardLimit"], limits["byteHardLimit"]
        over_count = count != 0 and hard_count > -1 and used["count"] + count > hard_count
        over_size = size != 0 and hard_size > -1 and used["bytes"] + size > hard_size
        if over_count or over_size:
            raise ZooKeeperError(ErrorCode.QUOTA_EXCEEDED, covered)
