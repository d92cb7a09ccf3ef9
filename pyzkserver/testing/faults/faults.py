"""``server.faults``: the faults that a test can ask for."""

from typing import TYPE_CHECKING, Any, Literal, Unpack

from pyzkserver.errors import ErrorCode
from pyzkserver.testing.control import Told
from pyzkserver.testing.matching import Clients
from pyzkserver.testing.operations import HANDSHAKES, OPERATIONS_BY_NAME, RECONNECT, error_code
from pyzkserver.testing.sessions import check_sessions
from pyzkserver.wire.requests import OpCode

from . import conditions, effects, events
from .making import Making
from .options import Ops, Options, PathLike, check_names, check_seconds, described, limits, may_miss
from .rule import Rule, Target
from .sessions import expire_now

if TYPE_CHECKING:
    from pyzkserver.replica.replica import Replica

__all__ = ["Faults"]

_REFUSED_READ_ONLY = OPERATIONS_BY_NAME["write"] | {OpCode.SYNC} | HANDSHAKES  # ReadOnlyRequestProcessor.run


class Faults(Making):
    """What can go wrong with a server, on demand.  The methods may be called from any thread.

    Most make a rule, which is in force when the method returns, until it is removed: by ``rule.remove()``, at
    the end of a ``with`` block, or with ``clear``.  The first two arguments say which requests: ``op`` is an
    operation by kazoo's name for it ("create", "get", "transaction" …), several in a list, "read", "write", or
    "any", which is the default and means all that a program asks for; what client libraries do by themselves
    must be named: "connect", "reconnect", "ping", "auth", "set_watches", "close".  ``path`` is a node, with
    ``*`` for any name and ``**`` for everything below.  For the keywords see ``Options``.

    ``when`` says whether it happens "before" or "after" the request was carried out.

    Rules are asked in the order in which they were made.  What cannot be meant raises ValueError or TypeError
    at once.
    """

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in force."""
        return self._book.rules

    def clear(self) -> None:
        """Remove all rules."""
        for rule in self._book.rules:
            rule.remove()

    # connections

    def drop(
        self,
        op: Ops = None,
        path: PathLike = None,
        *,
        when: effects.When = "before",
        **options: Unpack[Options],
    ) -> Rule:
        """Close the connection when such a request comes, before it is carried out, or after it.

        The client sees ConnectionLoss either way, and cannot know which.  Its session lives on.
        """
        return self._request_rule("drop", effects.Drop, op, path, when, options)

    def lose_reply(self, op: Ops = None, path: PathLike = None, **options: Unpack[Options]) -> Rule:
        """Carry the request out and close the connection instead of answering: ``drop(when="after")``."""
        return self._request_rule("lose_reply", effects.Drop, op, path, "after", options)

    def lose_session_move(self, **options: Unpack[Options]) -> Rule:
        """Move a client's session to its new connection, but do not tell the client: that closes, too."""
        return self._request_rule("lose_session_move", effects.Drop, "reconnect", None, "after", options)

    def refuse_connections(self, **options: Unpack[Options]) -> Rule:
        """Close new connections as soon as they are made; with ``client``, when it comes with its session."""
        check_names(options, "refuse_connections")
        if options.get("client") is not None:
            return self._request_rule(
                "refuse_connections", effects.Drop, "reconnect", None, "before", options
            )
        if "where" in options:
            raise ValueError(
                "refuse_connections has no request to ask where about: use drop('connect', where=…)"
            )
        text = described("refuse_connections", **options)
        rule = conditions.Refuse(
            text, Target(frozenset(), None, None), limits(options), may_miss=may_miss(options)
        )
        return self._book.add(rule)

    def silence(
        self,
        op: Ops = None,
        path: PathLike = None,
        *,
        when: effects.When = "before",
        **options: Unpack[Options],
    ) -> Rule:
        """Leave connections open, and let nothing pass through them any more, as a cut cable does.

        At once, and for new connections too; of one ``client``, or of all.  With an ``op`` or ``path``: from such
        a request on.  A silent client's session expires when its time is up, and the client is not told.  When
        the rule is removed its connections are closed.
        """
        if op is not None or path is not None:
            return self._request_rule("silence", conditions.Silence, op, path, when, options)
        check_names(options, "silence")
        for name in ("where", "times", "after", "probability", "seed"):
            if name in options:
                raise ValueError(f"silence() without an op or path begins at once, so {name} means nothing")
        if when != "before":
            raise ValueError(
                "silence() without an op or path begins at once: there is no request to come after"
            )
        clients = None if options.get("client") is None else Clients(options["client"])
        target = Target(frozenset({RECONNECT}) if clients is not None else frozenset(), None, clients)
        text = described("silence", **options)
        rule = conditions.Silence(text, target, limits(options), may_miss=may_miss(options))
        rule.from_the_start = True
        return self._book.add(rule)

    def slow_reads(self, bytes_per_second: float, **options: Unpack[Options]) -> Rule:
        """Read what clients send (``client``, or all) at this speed; a session lives on by what was read."""
        check_names(options, "slow_reads")
        for name in ("where", "times", "after", "probability", "seed"):
            if name in options:
                raise ValueError(f"slow_reads() is about connections, not requests, so {name} means nothing")
        if bytes_per_second <= 0:
            raise ValueError(
                f"slow_reads({bytes_per_second}): read at more than 0 bytes a second, or use silence()"
            )
        clients = None if options.get("client") is None else Clients(options["client"])
        text = described("slow_reads", bytes_per_second, **options)
        target = Target(frozenset(), None, clients)
        rule = conditions.SlowReads(text, target, limits(options), may_miss=may_miss(options))
        rule.bytes_per_second = bytes_per_second
        return self._book.add(rule)

    def disconnect(self, client: Any = None) -> int:
        """Close the connections of a client, or all of them, now.  Returns how many.  Sessions live on."""
        clients = None if client is None else Clients(client)

        def close() -> int:
            concerned = [
                connection
                for connection in self._book.connections
                if clients is None or connection.session_id in clients
            ]
            for connection in concerned:
                connection.note("is closed (fault: disconnect)")
                connection.drop()
            return len(concerned)

        return self._book.run(close)

    # sessions

    def expire(self, client: Any) -> None:
        """Let the session of a client (or of several) expire now; its ephemeral nodes are gone when this returns.

        The client finds out when it comes back.  Raises ValueError for a session that is not there.
        """
        ids = Clients(client).session_ids()
        self._run_in_server(self._expire, ids)

    async def _expire(self, ids: list[int]) -> None:
        assert self._book.service is not None
        replica: Replica = self._book.service.replica
        check_sessions(ids, replica.sessions)
        told = Told()
        for session_id in ids:
            told.expected += expire_now(replica, session_id, told)
        await told.all()

    def expire_on(
        self,
        op: Ops = None,
        path: PathLike = None,
        *,
        when: effects.When = "before",
        **options: Unpack[Options],
    ) -> Rule:
        """Let the session of whoever asks for this expire, before it is carried out, or after it."""
        return self._request_rule("expire_on", effects.Expire, op, path, when, options)

    # answers

    def fail(
        self,
        error: Any,
        op: Ops = None,
        path: PathLike = None,
        *,
        when: effects.When = "before",
        **options: Unpack[Options],
    ) -> Rule:
        """Answer with an error instead of carrying the request out; or, "after", although it was carried out.

        ``error`` is its name ("NO_NODE"), its number, or kazoo's exception class.
        """
        code = error_code(error)
        rule = self._new_request_rule("fail", effects.Fail, op, path, when, options, code.name)
        possible = code == ErrorCode.SESSION_EXPIRED and when == "before" and rule.target.kinds <= HANDSHAKES
        if rule.target.kinds & HANDSHAKES and not possible:
            raise ValueError(
                "a handshake has no room for an error: all it can be told is 'SESSION_EXPIRED', before, and in a"
                " rule of its own"
            )
        rule.code = code
        return self._book.add(rule)

    def delay(
        self,
        seconds: float,
        op: Ops = None,
        path: PathLike = None,
        *,
        when: effects.When = "before",
        **options: Unpack[Options],
    ) -> Rule:
        """Carry such a request out later, or send its answer later; all that follows on its connection waits."""
        check_seconds("delay", seconds)
        rule = self._new_request_rule("delay", effects.Delay, op, path, when, options, seconds)
        rule.seconds = seconds
        return self._book.add(rule)

    def hold(
        self,
        op: Ops = None,
        path: PathLike = None,
        *,
        when: effects.When = "before",
        **options: Unpack[Options],
    ) -> effects.Hold:
        """The same until ``release`` is called, or the rule is removed.

        Other clients are served meanwhile, so a test can bring requests into any order.  The client's session
        is alive as long as it sends pings.  Of a client that gives up meanwhile nothing is carried out.
        """
        rule = self._new_request_rule("hold", effects.Hold, op, path, when, options)
        if when == "after" and OpCode.CLOSE_SESSION in rule.target.kinds:
            raise ValueError("the answer to a close cannot be held: the connection ends with it")
        return self._book.add(rule)

    def split(
        self,
        op: Ops = None,
        path: PathLike = None,
        *,
        size: int = 1,
        interval: float = 0.001,
        **options: Unpack[Options],
    ) -> Rule:
        """Send the answer in pieces of ``size`` bytes, one every ``interval`` seconds."""
        if size < 1:
            raise ValueError(f"size={size}: a piece has one byte or more")
        if interval < 0:
            raise ValueError(f"interval={interval}: it is 0 seconds or more")
        rule = self._new_request_rule("split", effects.Split, op, path, "after", options)
        rule.size, rule.interval = size, interval
        return self._book.add(rule)

    def garble(
        self,
        op: Ops = None,
        path: PathLike = None,
        *,
        how: Literal["body", "xid", "length", "cut"] = "body",
        **options: Unpack[Options],
    ) -> Rule:
        """Send an answer that no server sends.

        ``how``: with noise for a "body"; with another request's "xid"; with a negative "length"; or "cut" in
        the middle, where the connection ends.
        """
        if how not in ("body", "xid", "length", "cut"):
            raise ValueError(f"how={how!r}: an answer is garbled in its body, xid or length, or cut")
        rule = self._new_request_rule("garble", effects.Garble, op, path, "after", options)
        if rule.target.kinds & HANDSHAKES and how in ("body", "xid"):
            raise ValueError(
                f"the answer to a handshake has no {how} of its own: garble its length, or cut it"
            )
        rule.how, rule.seed = how, options.get("seed", 0)
        return self._book.add(rule)

    def read_only(self) -> Rule:
        """Serve as a server does that has lost its quorum: reads only, and only clients that accept that.

        All connections are closed when it begins, and when it ends.
        """
        target = Target(frozenset(map(int, _REFUSED_READ_ONLY)), None, None)
        return self._book.add(conditions.ReadOnly("read_only()", target, limits({}), may_miss=True))

    # events

    def lose_event(self, type: Ops = None, path: PathLike = None, **options: Unpack[Options]) -> Rule:
        """Do not send such a watch event: "created", "deleted", "changed" or "child"; the watch is used up.

        A server never does this to a client that stays connected; a client that was away may find it so.
        """
        return self._book.add(self._event_rule("lose_event", events.LoseEvent, type, path, options))

    def delay_event(
        self, seconds: float, type: Ops = None, path: PathLike = None, **options: Unpack[Options]
    ) -> Rule:
        """Send such an event later, and with it all that follows on its connection, as the order demands."""
        check_seconds("delay_event", seconds)
        rule = self._event_rule("delay_event", events.DelayEvent, type, path, options, seconds)
        rule.seconds = seconds
        return self._book.add(rule)

    def hold_event(
        self, type: Ops = None, path: PathLike = None, **options: Unpack[Options]
    ) -> events.HoldEvent:
        """The same until ``release`` is called, or the rule is removed."""
        return self._book.add(self._event_rule("hold_event", events.HoldEvent, type, path, options))
