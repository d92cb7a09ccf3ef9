"""Requests become transactions here, or are refused (``PrepRequestProcessor``).

Each request is judged against the tree and everything proposed but not applied, in exactly Apache's order
of checks: which error a client sees depends on it.  Nothing is changed here but sessions being closed.  What
several of them ask (whose session, which node, may they) is in ``judging``.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.wire.jute import Record
from pyzkserver.wire.records import ACL, CreateFlag
from pyzkserver.wire.requests import (
    CheckVersionRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    MultiRequest,
    OpCode,
    SetACLRequest,
    SetDataRequest,
)
from pyzkserver.wire.txns import (
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    SetACLTxn,
    SetDataTxn,
)

from .acl import ADMIN, CREATE, DELETE, READ, WRITE, Acl
from .judging import Asker, Judging, Rules
from .node import NodeKind, ttl_owner, wrap32
from .paths import (
    CONFIG_NODE,
    LIMIT_NODE,
    QUOTA_NODE,
    parent_for_create,
    parent_for_delete,
    validate,
    validate_child,
)
from .pending import Pending
from .sessions import SessionTable
from .transaction import MultiBody

__all__ = ["Preparer"]

# Plain numbers, for what every create goes through.
_SEQUENTIAL = (2, 3, 6)  # CreateFlag.PERSISTENT_SEQUENTIAL, EPHEMERAL_SEQUENTIAL, …_WITH_TTL
_EPHEMERAL = (1, 3)
_FIRST_TTL_FLAG = int(CreateFlag.PERSISTENT_WITH_TTL)
_LAST_FLAG = int(CreateFlag.PERSISTENT_SEQUENTIAL_WITH_TTL)
_TOO_LARGE = 1 << 31
_CREATE_TTL = int(OpCode.CREATE_TTL)
_CREATE_CONTAINER = int(OpCode.CREATE_CONTAINER)

_ROOT_LIMIT = f"{QUOTA_NODE}/{LIMIT_NODE}"
_IN_MULTI = frozenset(
    {
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
        OpCode.DELETE,
        OpCode.SET_DATA,
        OpCode.CHECK,
    }
)


class Preparer(Judging):
    """Judges requests.  One at a time, in the order of their zxids."""

    def __init__(self, pending: Pending, sessions: SessionTable, rules: Rules) -> None:
        super().__init__(pending, sessions, rules)
        self.reconfigure: Callable[[Any, int], bytes] | None = None
        """A leader's: gives the configuration that a ReconfigRequest would lead to under a zxid, or refuses it.
        A standalone server has nothing to reconfigure."""
        self._single: dict[int, Callable[[Asker, int, Any], Record | None]] = {
            OpCode.CREATE: self._create,
            OpCode.CREATE2: self._create,
            OpCode.CREATE_CONTAINER: self._create,
            OpCode.CREATE_TTL: self._create,
            OpCode.DELETE: self._delete,
            OpCode.DELETE_CONTAINER: self._delete_container,
            OpCode.SET_DATA: self._set_data,
            OpCode.SET_ACL: self._set_acl,
            OpCode.CHECK: self._check,
            OpCode.RECONFIG: self._reconfig,
            OpCode.CREATE_SESSION: self._create_session,
            OpCode.CLOSE_SESSION: self._close_session,
        }

    def prepare(self, op: int, request: Any, asker: Asker) -> Record | MultiBody | None:
        """The body of the transaction that this request is.  Raises ZooKeeperError to refuse it.

        The operations of a multi that is accepted are in ``pending`` already: each was judged with those
        before it.  Everything else is the caller's to propose.
        """
        judge = self._single.get(op)
        return judge(asker, op, request) if judge is not None else self._multi(asker, request)

    def _multi(self, asker: Asker, request: MultiRequest | None) -> MultiBody:
        """All or nothing; a failed one is a transaction of errors.  None is one that could not be read."""
        if request is None:
            raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
        ops: list[tuple[int, Record]] = []
        failed: ErrorCode | None = None
        for part in request.ops:
            if getattr(part.request, "path", "") is None:
                raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)  # Apache trips over it before it judges any
        for part in request.ops:
            try:
                if part.op not in _IN_MULTI:
                    # A read: Apache finds no transaction for it.
                    raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
                body = self._single[part.op](asker, part.op, part.request)
            except ZooKeeperError as error:
                self.pending.withdraw(asker.zxid)
                if error.code == ErrorCode.MARSHALLING_ERROR:
                    raise
                failed = error.code
                break
            assert body is not None
            self.pending.propose_one(asker.zxid, asker.time, asker.session_id, part.op, body)
            ops.append((part.op, body))
        if failed is None:
            return MultiBody(ops)
        after = len(request.ops) - len(ops) - 1
        errors = [0] * len(ops) + [int(failed)] + [int(ErrorCode.RUNTIME_INCONSISTENCY)] * after
        return MultiBody([(OpCode.ERROR, ErrorTxn(err)) for err in errors])

    # one operation each

    def _create(self, asker: Asker, op: int, request: CreateRequest | CreateTTLRequest) -> Record:
        flags, path, ttl = request.flags, request.path, -1
        if flags or op == _CREATE_TTL:  # a plain persistent node needs no judging
            if isinstance(request, CreateTTLRequest):
                ttl = request.ttl
            self._judge_flags(op, flags, ttl, path)
            if flags in _EPHEMERAL and self.rules.local_sessions:
                self._judge_global(asker)
        self._judge_session(asker)
        if path is None:
            raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
        parent_path = parent_for_create(path)
        asked: Sequence[ACL] | None = request.acl
        if type(asked) is Acl and asked.settled:
            acl = asked
        else:
            acl = self.rules.access.fix_up(asked, asker.identities, path)
        pending = self.pending
        find = pending.find if pending.latest else pending.tree.nodes.get
        parent = find(parent_path)
        if parent is None:
            raise ZooKeeperError(ErrorCode.NO_NODE, path)
        if not parent.acl.world & CREATE:
            self._permit(parent, CREATE, asker, path)
        if flags in _SEQUENTIAL:
            path += f"{parent.cversion:010d}"
        validate_child(parent_path, path)
        if find(path) is not None:
            raise ZooKeeperError(ErrorCode.NODE_EXISTS, path)
        if parent.ephemeral_owner and self._kind(parent) is NodeKind.EPHEMERAL:
            raise ZooKeeperError(ErrorCode.NO_CHILDREN_FOR_EPHEMERALS, path)
        if path == _ROOT_LIMIT:
            # There is no quota on the root; Apache's server dies of it.
            raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)
        if self.rules.enforce_quota:
            self._judge_quota(path, 1, len(request.data or b""))
        cversion = parent.cversion + 1
        if cversion >= _TOO_LARGE:
            cversion = wrap32(cversion)
        if not flags and op != _CREATE_CONTAINER and op != _CREATE_TTL:
            return CreateTxn(path, request.data, acl, False, cversion)
        if op == _CREATE_CONTAINER:
            return CreateContainerTxn(path, request.data, acl, cversion)
        if op == _CREATE_TTL:
            return CreateTTLTxn(path, request.data, acl, cversion, ttl)
        return CreateTxn(path, request.data, acl, flags in _EPHEMERAL, cversion)

    def _judge_flags(self, op: int, flags: int, ttl: int, path: str | None) -> None:
        if not 0 <= flags <= _LAST_FLAG:
            raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)
        if flags >= _FIRST_TTL_FLAG:
            if not self.rules.extended_types:
                raise ZooKeeperError(ErrorCode.UNIMPLEMENTED, path)
            if ttl_owner(ttl) is None:
                raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)
        elif ttl >= 0 or op == _CREATE_TTL:
            # createTTL without a TTL flag and without a ttl passes Apache's checks and brings it down.
            raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)

    def _delete(self, asker: Asker, op: int, request: DeleteRequest) -> Record:
        self._judge_session(asker)
        path = _given(request.path)
        parent = self._node(parent_for_delete(path), path)
        self._permit(parent, DELETE, asker, path)
        node = self._node(path, path)
        _next_version(node.version, request.version, path)
        if node.child_count > 0:
            raise ZooKeeperError(ErrorCode.NOT_EMPTY, path)
        return DeleteTxn(path)

    def _delete_container(self, asker: Asker, op: int, request: DeleteContainerRequest) -> Record:
        path = _given(request.path)
        parent_path = parent_for_delete(path)
        node = self._node(path, path)
        if node.child_count > 0:
            raise ZooKeeperError(ErrorCode.NOT_EMPTY, path)
        if self._kind(node) is NodeKind.EPHEMERAL:
            raise ZooKeeperError(ErrorCode.BAD_VERSION, path)
        self._node(parent_path, path)
        return DeleteTxn(path)

    def _set_data(self, asker: Asker, op: int, request: SetDataRequest) -> Record:
        self._judge_session(asker)
        path = request.path
        validate(path)
        assert path is not None
        node = self._node(path, path)
        if not node.acl.world & WRITE:
            self._permit(node, WRITE, asker, path)
        if self.rules.enforce_quota:
            self._judge_quota(path, 0, len(request.data or b"") - len(node.data or b""))
        return SetDataTxn(path, request.data, _next_version(node.version, request.version, path))

    def _set_acl(self, asker: Asker, op: int, request: SetACLRequest) -> Record:
        self._judge_session(asker)
        path = request.path
        validate(path)
        assert path is not None
        acl = self.rules.access.fix_up(request.acl, asker.identities, path)
        node = self._node(path, path)
        self._permit(node, ADMIN, asker, path)
        return SetACLTxn(path, acl, _next_version(node.aversion, request.version, path))

    def _check(self, asker: Asker, op: int, request: CheckVersionRequest) -> Record:
        self._judge_session(asker)
        path = request.path
        validate(path)
        assert path is not None
        node = self._node(path, path)
        self._permit(node, READ, asker, path)
        return CheckVersionTxn(path, _next_version(node.version, request.version, path))

    def _reconfig(self, asker: Asker, op: int, request: Record) -> Record:
        if not self.rules.reconfig_enabled:
            raise ZooKeeperError(ErrorCode.RECONFIG_DISABLED)
        self._judge_session(asker)
        if self.reconfigure is None:
            raise ZooKeeperError(ErrorCode.UNIMPLEMENTED)
        data = self.reconfigure(request, asker.zxid)
        # Only now, as Apache's server does: whoever may not reconfigure still learns what is wrong.
        self._permit(self._node(CONFIG_NODE, CONFIG_NODE), WRITE, asker, CONFIG_NODE)
        return SetDataTxn(CONFIG_NODE, data, -1)

    def _create_session(self, asker: Asker, op: int, request: CreateSessionTxn) -> Record:
        return request

    def _close_session(self, asker: Asker, op: int, request: None) -> Record | None:
        paths = self.pending.ephemerals_of(asker.session_id)
        session = self.sessions.by_id.get(asker.session_id)
        if session is not None:
            session.closing = True
        return CloseSessionTxn(list(paths)) if self.rules.close_session_txn else None


def _given(path: str | None) -> str:
    if path is None:
        raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR)
    return path


def _next_version(current: int, expected: int, path: str) -> int:
    if expected not in (-1, current):
        raise ZooKeeperError(ErrorCode.BAD_VERSION, path)
    return wrap32(current + 1)
