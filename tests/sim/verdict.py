"""Judges a history when its world has ended, against the one sequence of transactions that was committed.

Every answer has to be the truth at the place in that sequence which it names: a write stands there, a read
tells the state that the transactions up to there lead to.  What is seen goes forward only, for each session,
and for all of them together where an answer preceded a question.  What is not in the answers' own words
(zxids) is judged by ``linearizability`` once more.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

from storage.histories import apply

from pyzkserver.errors import ErrorCode
from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.wire.requests import OpCode

from .history import NO_NODE, NODE_EXISTS, Call, Event, History
from .linearizability import TooHard, explain, is_linearizable
from .taps import describe_transaction

__all__ = ["Established", "Verdict"]

Established = Sequence[tuple[float, int]]
"""When which epoch's leader was established."""

REFUSALS = {NO_NODE, NODE_EXISTS, int(ErrorCode.NOT_EMPTY), int(ErrorCode.BAD_VERSION)}
"""What the order of all writes decides, and not the state of a session or a connection."""


class Verdict:
    """``complaints`` says what is wrong; ``stale`` counts sync'd reads that a deposed leader let through.

    A leader answers a sync without asking its followers (``Leader.processSync``), so one that was deposed and
    does not know it lets through reads of its own epoch: in Apache's servers as well.  Those are counted and
    not complained about; ``established`` tells them.
    """

    def __init__(
        self,
        history: History,
        committed: Iterable[Transaction],
        established: Established = (),
        registers: Sequence[str] = (),
        line_to: Callable[[int], list[Transaction]] | None = None,
        sessions: str = "global",
    ) -> None:
        self.history = history
        self.committed = {txn.zxid: txn for txn in committed}
        self.established = established
        self.line_to = line_to
        self.kind_of_sessions = sessions
        self.complaints: list[str] = []
        self.stale = 0
        self.undecided = 0
        self._stale_calls: set[int] = set()
        self._changes: dict[tuple[str, str], list[int]] = {}
        self._opened = {txn.session_id for txn in self.committed.values() if txn.op == OpCode.CREATE_SESSION}
        """Sessions that all members were told of."""
        self._check_writes()
        self._check_reads()
        self._check_read_only()
        self._check_session_transactions()
        self._check_real_time()
        self._check_sessions()
        self._check_watches()
        for path in registers:
            self._check_register(path)

    def _complain(self, text: str) -> None:
        self.complaints.append(text)

    # every write stands where it was said to

    def _check_writes(self) -> None:
        for call in self.history.calls:
            if not call.writes or call.returned is None:
                continue
            txn = self.committed.get(call.zxid)
            if call.err and call.err not in REFUSALS:
                continue
            if call.read_only:
                if call.kind != "close":
                    self._complain(f"written where nobody may write: {call}")
                continue
            if self._is_local(call):
                continue
            if txn is None:
                self._complain(f"lost: {call} was answered, and 0x{call.zxid:x} was never committed")
            elif (txn.session_id, txn.cxid) != (call.session_id, call.xid):
                self._complain(f"{call}: 0x{call.zxid:x} is {describe_transaction(txn)}")
            elif _is_refusal(txn) != bool(call.err):
                self._complain(f"{call}: the transaction is {describe_transaction(txn)}")

    def _is_local(self, call: Call) -> bool:
        """The end of a session that only its member knew is no transaction."""
        return (
            call.kind == "close" and self.kind_of_sessions != "global" and call.session_id not in self._opened
        )

    # every read tells the truth

    def _check_reads(self) -> None:
        reads = [
            call
            for call in self.history.calls
            if call.kind in ("get", "children") and call.returned is not None and call.err in (0, NO_NODE)
            if not call.read_only
        ]
        reads.sort(key=lambda call: call.zxid)
        tree, sessions = DataTree(extended_types=True), dict[int, int]()
        position = 0
        for zxid in sorted(self.committed):
            while position < len(reads) and reads[position].zxid < zxid:
                self._check_read(reads[position], tree)
                position += 1
            txn = self.committed[zxid]
            for key in _changed(txn, tree):
                self._changes.setdefault(key, []).append(zxid)
            apply(txn, tree, sessions)
        for call in reads[position:]:
            self._check_read(call, tree)
        self.tree, self.sessions = tree, sessions

    def _check_read(self, call: Call, tree: DataTree) -> None:
        node = tree.nodes.get(call.path)
        if node is None or call.err:
            if node is not None or not call.err:
                self._complain(f"untrue: {call}")
            return
        if call.kind == "children":
            truth = sorted(node.children or ())
            if call.children != truth:
                self._complain(f"untrue: {call}, where there are {' '.join(truth)}")
        elif (call.value, call.mzxid) != (node.data, node.mzxid):
            self._complain(f"untrue: {call}, where it is {node.data!r} since 0x{node.mzxid:x}")

    # what a read-only member shows was proposed, in this order, if not decided

    def _check_read_only(self) -> None:
        trees: dict[int, DataTree] = {}
        for call in self.history.calls:
            if not call.read_only or call.returned is None or call.kind not in ("get", "children"):
                continue
            if call.err not in (0, NO_NODE) or self.line_to is None:
                continue
            if call.zxid not in trees:
                trees[call.zxid] = tree = DataTree(extended_types=True)
                sessions = dict[int, int]()
                for txn in self.line_to(call.zxid):
                    apply(txn, tree, sessions)
            self._check_read(call, trees[call.zxid])

    # sessions are told to all where they have to be, and nowhere else

    def _check_session_transactions(self) -> None:
        """A local session becomes a transaction when it creates an ephemeral node, if it may, and never otherwise.

        And no ephemeral node is there without its session.
        """
        owners = {owner for owner, paths in self.tree.ephemerals.items() if paths}
        for owner in owners - self.sessions.keys():
            self._complain(f"session 0x{owner:x} has ephemeral nodes, and nobody knows it")
        if self.kind_of_sessions == "global":
            return
        asked = {
            call.session_id
            for call in self.history.calls
            if call.kind in ("create-ephemeral", "create-sequential") and self.kind_of_sessions == "upgraded"
        }
        for txn in self.committed.values():
            if txn.op == OpCode.CREATE_SESSION and txn.session_id not in asked:
                self._complain(f"local session 0x{txn.session_id:x} became a transaction, 0x{txn.zxid:x}")

    # what was answered before is seen by who asks after

    def _check_real_time(self) -> None:
        answered = sorted(
            (call for call in self.history.calls if call.returned is not None and self._fixes(call)),
            key=lambda call: call.returned or 0.0,
        )
        asked = sorted(answered, key=lambda call: call.invoked)
        known, by, position = 0, "", 0
        for call in asked:
            while position < len(answered) and (answered[position].returned or 0.0) < call.invoked:
                seen = answered[position].zxid if answered[position].writes else answered[position].mzxid
                if seen > known:
                    known, by = seen, str(answered[position])
                position += 1
            if call.zxid < known or (call.writes and call.zxid == known):
                if not call.writes and self._leader_was_deposed(call):
                    self.stale += 1
                    self._stale_calls.add(id(call))
                else:
                    self._complain(f"out of order: {call} comes after {by}")

    def _fixes(self, call: Call) -> bool:
        if call.read_only or self._is_local(call):
            return False
        if call.writes:
            return call.err == 0 or call.err in REFUSALS
        return call.synced and call.err in (0, NO_NODE)

    def _leader_was_deposed(self, call: Call) -> bool:
        assert call.returned is not None
        return any(when <= call.returned and epoch > call.zxid >> 32 for when, epoch in self.established)

    # each session goes forward

    def _check_sessions(self) -> None:
        for heard in self.history.heard.values():
            last: dict[int, Call] = {}
            for call in heard:
                if isinstance(call, Event) or (call.err and call.err not in REFUSALS):
                    continue
                before = last.get(call.session_id)
                if before is not None and call.zxid < before.zxid:
                    self._complain(f"back in time: {call} after {before}")
                last[call.session_id] = call
                if call.kind == "close":
                    # Where a clock is set back, another session may get its number (as with Apache's servers).
                    del last[call.session_id]

    # watches are told before what they tell of is seen

    def _check_watches(self) -> None:
        for client, heard in self.history.heard.items():
            watches: dict[tuple[str, str], int] = {}
            session_id = 0
            for each in heard:
                if isinstance(each, Event):
                    kinds = {"NODE_CHILDREN_CHANGED": ["child"], "NODE_DELETED": ["data", "child"]}
                    told = [watches.pop((kind, each.path), None) for kind in kinds.get(each.type, ["data"])]
                    if not any(told):
                        self._complain(f"{client} hears {each}, and watches no such thing")
                    continue
                if each.session_id != session_id:
                    session_id = each.session_id
                    watches.clear()
                for key, since in watches.items():
                    changes = self._changes.get(key, [])
                    after = bisect_right(changes, since)
                    if after < len(changes) and changes[after] <= each.zxid:
                        self._complain(
                            f"{client} watches {key} since 0x{since:x}, was not told of 0x{changes[after]:x}, and"
                            f" sees {each}"
                        )
                        watches = {}
                        break
                if each.kind == "close" and not each.err:
                    session_id = 0
                if each.watch and not each.err:
                    watches.setdefault(("child" if each.kind == "children" else "data", each.path), each.zxid)

    # once more, without believing any zxid

    def _check_register(self, path: str) -> None:
        calls = [
            call
            for call in self.history.calls
            if call.path == path
            and call.kind in ("create", "set", "delete", "get")
            and (call.synced or call.kind != "get")
            and call.err in (0, NO_NODE, NODE_EXISTS)
            and id(call) not in self._stale_calls
            and not call.read_only
        ]
        try:
            if not is_linearizable(calls, None):
                self._complain(f"{path} is not linearizable:\n{explain(calls)}")
        except TooHard:
            self.undecided += 1


def _is_refusal(txn: Transaction) -> bool:
    if isinstance(txn.body, MultiBody):
        return any(op == OpCode.ERROR for op, _ in txn.body.ops)
    return txn.op == OpCode.ERROR


def _changed(txn: Transaction, tree: DataTree) -> Iterator[tuple[str, str]]:
    """What this transaction changes, as watches have it: (data or child, path)."""
    parts = txn.body.ops if isinstance(txn.body, MultiBody) else [(txn.op, txn.body)]
    for op, body in parts:
        if op == OpCode.CLOSE_SESSION:
            for path in tree.ephemerals.get(txn.session_id, ()):
                yield "data", path
                yield "child", path.rpartition("/")[0]
        path = getattr(body, "path", None)
        if path is None or op in (OpCode.CHECK, OpCode.SET_ACL):
            continue
        yield "data", path
        if op != OpCode.SET_DATA:
            yield "child", path.rpartition("/")[0]
