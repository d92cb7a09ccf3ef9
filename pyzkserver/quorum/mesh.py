"""Connections between members for elections: at most one for every pair (``QuorumCnxManager``).

The member with the higher id keeps the connections it opens; one with a lower id says hello and hangs up, to be
called back.  For each other member only the newest message is kept, and said again on a new connection.  What a
message means is not known here.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import trio

from pyzkserver.host import Host
from pyzkserver.wire.election import OBSERVER_ID, Hello

from .complaints import Complaints
from .mesh_lines import LOST, Line, MeshPeer, Welcome

__all__ = ["Limits", "Mesh"]

logger = logging.getLogger("pyzkserver.quorum")

Endpoint = tuple[str, int]

_CALL_AGAIN = 0.05  # seconds at least between two calls to a member that lost its connection


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds to connect and to say hello.  ``strangers`` bounds two things: connections that have not said
    hello, and peers that are no members."""

    connect: float = 5.0
    hello: float = 10.0
    strangers: int = 100


class Mesh:
    """All election connections of one member, ``sid``.

    ``hello`` gives what is said first; ``endpoints_of`` where a member listens, or nothing for who is none;
    ``receive`` takes a message with its sender's id: it does not wait, and raises ElectionFormatError for what is
    none.  ``refused`` is told who does not listen; ``tune`` sets a new connection's options.
    """

    def __init__(
        self,
        sid: int,
        host: Host,
        *,
        hello: Callable[[], Hello],
        endpoints_of: Callable[[int], Iterable[Endpoint]],
        receive: Callable[[int, bytes], None],
        refused: Callable[[int], None] = lambda sid: None,
        tune: Callable[[trio.abc.Stream], None] = lambda stream: None,
        multi_address: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.sid, self.limits = sid, limits or Limits()
        self._host, self._hello, self._endpoints_of = host, hello, endpoints_of
        self._receive, self._refused, self._tune = receive, refused, tune
        self._multi_address = multi_address
        self._peers: dict[int, MeshPeer] = {}
        self._nursery: trio.Nursery | None = None
        self._next_observer_id = -1
        self._complaints = Complaints(logger)
        self._welcome = Welcome(self.limits.hello, self.limits.strangers, self._complaints)

    # What the election calls; none of it waits.

    def send(self, sid: int, message: bytes) -> None:
        """Queue a message, in place of one that was not sent yet; connect if need be (``toSend``)."""
        peer = self._peer(sid)
        if peer is not None:
            peer.outbox = message
            if peer.line is not None:
                peer.line.wake.set()
            self._connect(peer)

    def connect_all(self) -> None:
        """Try again whoever is not connected (``connectAll``)."""
        for peer in list(self._peers.values()):
            self._connect(peer)

    @property
    def has_delivered(self) -> bool:
        """Whether anybody was sent the newest message (``haveDelivered``)."""
        return any(peer.outbox is None for peer in self._peers.values())

    @property
    def connected(self) -> frozenset[int]:
        return frozenset(sid for sid, peer in self._peers.items() if peer.line is not None)

    @property
    def refusing(self) -> frozenset[int]:
        """Where nothing listened when it was last tried, and of whom nothing was heard since."""
        return frozenset(sid for sid, peer in self._peers.items() if peer.refused)

    def statistics(self) -> dict[str, object]:
        """For people: who is connected, who does not listen, who was not sent the newest message."""
        return {
            "connected": sorted(self.connected),
            "refusing": sorted(self.refusing),
            "unsent": sorted(sid for sid, peer in self._peers.items() if peer.outbox is not None),
            "without_hello": len(self._welcome.waiting),
        }

    # Who is known.

    def _peer(self, sid: int) -> MeshPeer | None:
        """The peer's entry.  None where it is no member, and there are too many of those."""
        if sid not in self._peers:
            if not self._is_member(sid) and not self._has_room():
                self._complaints.say("%d is no member, and too many such talk to the election port", sid)
                return None
            self._peers[sid] = MeshPeer(sid)
        return self._peers[sid]

    def _is_member(self, sid: int) -> bool:
        return any(True for _ in self._endpoints_of(sid))

    def _has_room(self) -> bool:
        """Forgets strangers that have left, and tells whether one more may come."""
        strangers = [peer for peer in self._peers.values() if not self._is_member(peer.sid)]
        for peer in strangers:
            if peer.is_idle():
                del self._peers[peer.sid]
        return sum(not peer.is_idle() for peer in strangers) < self.limits.strangers

    # Connections.

    async def run(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and keep connections until cancelled.  The listeners are closed at the end."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                if listeners:
                    nursery.start_soon(self.listen, listeners)
                task_status.started()
                self.connect_all()
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self._peers.clear()

    async def listen(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        """Accept connections at these until cancelled, which leaves the connections alone; then close them."""
        assert self._nursery is not None, "listening is for while the mesh runs"
        await trio.serve_listeners(self._answer, list(listeners), handler_nursery=self._nursery)

    def _connect(self, peer: MeshPeer, told: Sequence[Endpoint] = ()) -> None:
        """Call a peer that is not connected, first where it told us, then where the configuration says."""
        if peer.is_idle() and self._nursery is not None:
            endpoints = list(dict.fromkeys([*told, *self._endpoints_of(peer.sid)]))
            if endpoints:
                peer.connecting = True
                self._nursery.start_soon(self._call, peer, endpoints)

    async def _call(self, peer: MeshPeer, endpoints: Sequence[Endpoint]) -> None:
        """Connect and say hello; the connection is kept if our id is the higher one (``startConnection``)."""
        try:
            stream = await self._open(peer, endpoints)
            if stream is None:
                return
            hello = self._hello().encode(multi_address=self._multi_address)
            with trio.move_on_after(self.limits.connect) as scope:
                await stream.send_all(hello)
                if peer.sid > self.sid:
                    await stream.aclose()
            if scope.cancelled_caught or peer.sid > self.sid:
                await trio.aclose_forcefully(stream)
                return
        except LOST as error:
            logger.debug("lost the connection to the election port of member %d: %s", peer.sid, error)
            return
        finally:
            peer.connecting = False
        await self._keep(peer, stream, b"")

    async def _open(self, peer: MeshPeer, endpoints: Sequence[Endpoint]) -> trio.abc.Stream | None:
        """A stream to the first endpoint that answers, or None."""
        refused = True
        for host, port in endpoints:
            try:
                with trio.fail_after(self.limits.connect):
                    stream = await self._host.connect(host, port)
            except (OSError, trio.TooSlowError) as error:
                refused = refused and _is_refusal(error)
                logger.debug("member %d at %s:%d: %s", peer.sid, host, port, error or "no answer")
            else:
                self._tune(stream)
                return stream
        peer.refused = refused
        if refused:
            self._refused(peer.sid)
        return None

    async def _answer(self, stream: trio.abc.Stream) -> None:
        """Someone connected (``handleConnection``).  What it does wrong costs this connection only."""
        try:
            self._tune(stream)
            said = await self._welcome.hello_of(stream)
            if said is not None:
                await self._place(said[0], stream, said[1])
        except LOST as error:
            logger.debug("a connection to the election port was lost: %s", error)
        finally:
            await trio.aclose_forcefully(stream)

    async def _place(self, hello: Hello, stream: trio.abc.Stream, rest: bytes) -> None:
        """Keep the connection of a peer with a higher id; call one with a lower id back."""
        sid = hello.sid
        if sid == OBSERVER_ID:
            sid, self._next_observer_id = self._next_observer_id, self._next_observer_id - 1
        if sid == self.sid:
            self._complaints.say(
                "another member has our id %d: one of the two myid files is wrong (it says it listens at %s)",
                sid,
                ", ".join(f"{host}:{port}" for host, port in hello.addresses) or "no address",
            )
            return
        peer = self._peer(sid)
        if peer is None:
            return
        peer.refused = False
        if sid > self.sid:
            await self._keep(peer, stream, rest)
            return
        # It would not call if it had a connection: ours is dead, whatever the network says.
        if peer.line is not None:
            self._hang_up(peer, peer.line)
        self._connect(peer, hello.addresses)

    def _hang_up(self, peer: MeshPeer, line: Line) -> None:
        line.scope.cancel()
        if peer.line is line:
            peer.line = None

    async def _keep(self, peer: MeshPeer, stream: trio.abc.Stream, rest: bytes) -> None:
        """Use a connection, in place of any older one, until it is lost or hung up."""
        line = Line(peer, stream)
        if peer.line is not None:
            self._hang_up(peer, peer.line)
        peer.line, peer.refused = line, False
        if peer.outbox is None:
            peer.outbox = peer.last_sent  # nobody knows whether it arrived; to hear it twice does no harm
        try:
            await line.use(rest, self._receive, self._complaints)
        finally:
            lost = peer.line is line
            self._hang_up(peer, line)
            await trio.aclose_forcefully(stream)
        if lost:
            # Either it comes back, or nothing listens there any more: the next election begins with knowing that.
            await trio.sleep_until(peer.recalled_at + _CALL_AGAIN)
            peer.recalled_at = trio.current_time()
            self._connect(peer)


def _is_refusal(error: Exception) -> bool:
    """Nothing listens there: told apart from no answer, for then nobody may come to vote."""
    if isinstance(error.__cause__, ExceptionGroup):
        # One of each address that a name has (trio.open_tcp_stream).
        return all(isinstance(cause, ConnectionRefusedError) for cause in error.__cause__.exceptions)
    return isinstance(error, ConnectionRefusedError)
