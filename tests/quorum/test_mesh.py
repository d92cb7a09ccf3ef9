"""Connections between members: one for every pair, the newest message, and whoever behaves badly."""

import logging
from random import Random

import pytest
import trio
from sim.disk import SimDisk
from sim.host import SimHost, seeded_run
from sim.network import Network

from pyzkserver.quorum.mesh import Limits, Mesh
from pyzkserver.wire.election import OBSERVER_ID, ElectionFormatError, Hello
from pyzkserver.wire.framing import frame

PORT = 3888


class Node:
    """A mesh on a machine of its own, and what it received."""

    def __init__(self, net, sid, *, multi_address=False, addresses=None):
        self.net, self.sid, self.received, self.refused = net, sid, [], []
        self.machine = net.network.machine(net.address(sid))
        self.mesh = Mesh(
            sid,
            SimHost(SimDisk(sid), Random(sid), machine=self.machine),
            hello=lambda: Hello(sid, addresses or ((net.address(sid), PORT),)),
            endpoints_of=lambda other: net.endpoints.get(other, ()),
            receive=self.receive,
            refused=self.refused.append,
            multi_address=multi_address,
            limits=net.limits,
        )
        self.scope = trio.CancelScope()

    def receive(self, sid, message):
        if message.startswith(b"bad"):
            raise ElectionFormatError("it is bad")
        self.received.append((sid, message))

    async def run(self, task_status):
        with self.scope:
            await self.mesh.run([self.machine.listen(PORT, 50)], task_status=task_status)

    def kill(self):
        self.scope.cancel()
        self.machine.kill()


class Net:
    """``known`` members have an address in everybody's configuration."""

    def __init__(self, nursery, network, known, limits):
        self.nursery, self.network, self.limits = nursery, network, limits
        self.endpoints = {sid: ((self.address(sid), PORT),) for sid in known}
        for sid in known:
            network.machine(self.address(sid))

    @staticmethod
    def address(sid):
        return f"10.0.0.{sid}"

    async def start(self, sid, **how):
        node = Node(self, sid, **how)
        node.machine.start()
        await self.nursery.start(node.run)
        return node

    async def stranger(self, target, *data):
        """A connection from outside that sends these bytes."""
        stream = await self.network.machine("10.9.9.9").connect(self.address(target), PORT)
        for part in data:
            await stream.send_all(part)
        return stream

    def connections(self, one, other):
        return len(self.network.streams_between(self.address(one), self.address(other)))


def simulated(scenario, *, known=(1, 2, 3), seed=0, limits=None):
    async def main():
        async with trio.open_nursery() as nursery:
            await scenario(Net(nursery, Network(Random(seed)), known, limits or Limits()))
            nursery.cancel_scope.cancel()

    seeded_run(seed, main)


async def closed(stream):
    """Wait until the other side hung up; what it sent before."""
    data = b""
    with trio.fail_after(60):
        try:
            while more := await stream.receive_some():
                data += more
        except trio.BrokenResourceError:
            pass
    return data


# --- one connection for every pair ------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1, 2])
def test_the_higher_id_keeps_the_connection(first):
    """Whoever wants to talk first: the one with the lower id hangs up, and is called back."""

    async def scenario(net):
        nodes = {sid: await net.start(sid) for sid in (1, 2)}
        nodes[first].mesh.send(3 - first, b"hello")
        await trio.sleep(1)
        assert nodes[3 - first].received == [(first, b"hello")]
        assert net.connections(1, 2) == 1
        [stream] = net.network.streams_between(net.address(2), net.address(1))
        assert not stream.called
        nodes[3 - first].mesh.send(first, b"and back")
        await trio.sleep(1)
        assert nodes[first].received == [(3 - first, b"and back")]
        assert net.connections(1, 2) == 1

    simulated(scenario)


@pytest.mark.parametrize("seed", range(20))
def test_both_call_at_once_and_one_connection_is_left(seed):
    """Many messages both ways while they do: at the end the newest arrived, over one connection."""

    async def scenario(net):
        nodes = [await net.start(sid) for sid in (1, 2, 3)]
        random = Random(seed)
        for number in range(10):
            for node in nodes:
                for other in {1, 2, 3} - {node.sid}:
                    node.mesh.send(other, b"%d" % number)
            await trio.sleep(random.choice((0, 0.0005, 0.002, 1)))
        await trio.sleep(5)
        for node in nodes:
            assert dict(node.received) == dict.fromkeys({1, 2, 3} - {node.sid}, b"9")
            assert [net.connections(node.sid, sid) for sid in {1, 2, 3} - {node.sid}] == [1, 1]

    simulated(scenario, seed=seed)


def test_only_the_newest_message_waits():
    """SEND_CAPACITY 1: who comes late hears what counts now, not what was said before."""

    async def scenario(net):
        one = await net.start(1)
        for number in range(5):
            one.mesh.send(2, b"%d" % number)
            await trio.sleep(1)
        assert not one.mesh.has_delivered
        assert one.mesh.refusing == {2}
        two = await net.start(2)
        one.mesh.connect_all()
        await trio.sleep(1)
        assert two.received == [(1, b"4")]
        assert one.mesh.has_delivered
        assert one.mesh.refusing == frozenset()

    simulated(scenario)


def test_the_last_message_is_said_again_on_a_new_connection():
    """Nobody knows whether it arrived before the connection broke (SendWorker.run)."""

    async def scenario(net):
        one, two = await net.start(1), await net.start(2)
        one.mesh.send(2, b"vote")
        await trio.sleep(1)
        two.kill()
        await trio.sleep(1)
        two = await net.start(2)
        two.mesh.send(1, b"who leads?")
        await trio.sleep(1)
        assert two.received == [(1, b"vote")]
        assert one.received[-1] == (2, b"who leads?")

    simulated(scenario)


def test_who_calls_again_has_lost_the_old_connection():
    """Half open: 1 lost its end and calls; 2 believes it is connected, and must not."""

    async def scenario(net):
        one, two = await net.start(1), await net.start(2)
        two.mesh.send(1, b"first")
        await trio.sleep(1)
        one.kill()
        net.network.lose_between(net.address(2), net.address(1))
        one = await net.start(1)
        one.mesh.send(2, b"back")
        await trio.sleep(1)
        assert two.received == [(1, b"back")]
        assert one.received == [(2, b"first")]
        assert net.connections(1, 2) == 1

    simulated(scenario)


def test_refusals_are_told():
    """Nothing listens there: told apart from a network that swallows everything."""

    async def scenario(net):
        one = await net.start(1)
        net.network.machine(net.address(2)).start()
        net.network.block(net.address(1), net.address(3))
        one.mesh.send(2, b"x")
        one.mesh.send(3, b"x")
        await trio.sleep(30)
        assert one.refused == [2]
        assert one.mesh.refusing == {2}
        assert one.mesh.statistics() == {
            "connected": [],
            "refusing": [2],
            "unsent": [2, 3],
            "without_hello": 0,
        }

    simulated(scenario)


def test_several_addresses_are_tried_one_after_the_other():
    """The first does not answer: within the time to connect each, the next is taken."""

    async def scenario(net):
        net.endpoints[1] = (("10.0.7.7", PORT), (net.address(1), 9), (net.address(1), PORT))
        net.network.machine("10.0.7.7")
        net.network.block(net.address(2), "10.0.7.7")
        one, two = await net.start(1), await net.start(2)
        two.mesh.send(1, b"found")
        await trio.sleep(6)
        assert one.received == [(2, b"found")]

    simulated(scenario)


# --- who is in no configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize("newcomer", [1, 9])
@pytest.mark.parametrize("multi", [True, False])
def test_a_newcomer_is_called_at_the_address_it_tells(newcomer, multi):
    """A server about to join knows the members, which do not know it; its hello says where it listens."""

    async def scenario(net):
        known = await net.start(5)
        new = await net.start(newcomer, multi_address=multi)
        new.mesh.send(5, b"who leads?")
        await trio.sleep(1)
        assert known.received == [(newcomer, b"who leads?")]
        known.mesh.send(newcomer, b"5 does")
        await trio.sleep(1)
        assert new.received == [(5, b"5 does")]

    simulated(scenario, known=(5,))


def test_an_observer_without_an_id_gets_one():
    """QuorumPeer.OBSERVER_ID: each is called back under a negative number."""

    async def scenario(net):
        five = await net.start(5)
        other = net.network.machine("10.0.0.8")
        listener = other.listen(PORT, 5)
        for number in (-1, -2):
            stream = await other.connect(net.address(5), PORT)
            await stream.send_all(Hello(OBSERVER_ID, (("10.0.0.8", PORT),)).encode())
            back = await listener.accept()
            await closed(stream)
            await back.send_all(frame(b"hi"))
            await trio.sleep(1)
            assert five.received[-1] == (number, b"hi")

    simulated(scenario, known=(5,))


def test_strangers_are_bounded_and_forgotten():
    """Members always get in; others only so many, until some have left."""

    async def scenario(net):
        node = await net.start(1)
        streams = [await net.stranger(1, Hello(sid).encode(), frame(b"m")) for sid in range(100, 104)]
        await trio.sleep(1)
        assert [sid for sid, _ in node.received] == [100, 101, 102]
        assert await closed(streams[3]) == b""
        member = await net.stranger(1, Hello(3).encode(), frame(b"m"))
        await trio.sleep(1)
        assert node.received[-1] == (3, b"m")
        await streams[0].aclose()
        await trio.sleep(1)
        await net.stranger(1, Hello(104).encode(), frame(b"m"))
        await trio.sleep(1)
        assert node.received[-1] == (104, b"m")
        await member.aclose()

    simulated(scenario, limits=Limits(strangers=3))


# --- bad input --------------------------------------------------------------------------------------------

HELLO = Hello(3, (("x", 1),)).encode()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "connection of member 5135603447292250196: a frame of 1414541105 bytes"),
        (b"\xff" * 30, "that does not say hello: -1 is no protocol version"),
        (HELLO + frame(b"bad"), "closing the election connection of member 3: it is bad"),
        (
            HELLO + frame(b"good") + b"\x7f\xff\xff\xff",
            "closing the election connection of member 3: a frame of",
        ),
        (HELLO + b"\xff\xff\xff\xff", "closing the election connection of member 3: a frame of -1 bytes"),
        (Hello(1).encode(), "another member has our id 1: one of the two myid files is wrong"),
    ],
)
def test_bad_input_costs_its_connection_only(data, complaint, caplog):
    """It is closed, and logged once however often it comes; the others go on."""

    async def scenario(net):
        node, peer = await net.start(1), await net.start(2)
        peer.mesh.send(1, b"before")
        await trio.sleep(1)
        for _ in range(5):
            await closed(await net.stranger(1, data))
        await trio.sleep(1)
        peer.mesh.send(1, b"after")
        await trio.sleep(1)
        assert [message for sid, message in node.received if sid == 2] == [b"before", b"after"]
        assert node.mesh.connected == {2}

    with caplog.at_level(logging.WARNING):
        simulated(scenario)
    [said] = [record.getMessage() for record in caplog.records]
    assert complaint in said


def test_complaints_come_once_a_minute_with_their_number(caplog):
    async def scenario(net):
        await net.start(1)
        for _ in range(3):
            await closed(await net.stranger(1, b"\xff" * 30))
        await trio.sleep(61)
        await closed(await net.stranger(1, b"\xff" * 30))

    with caplog.at_level(logging.WARNING):
        simulated(scenario)
    first, second = (record.getMessage() for record in caplog.records)
    assert "more since" not in first
    assert second == first + " (2 more since this was last said)"


def test_silence_is_not_waited_for(caplog):
    """Whoever connects and says nothing is closed in time, and only so many may be silent at once: who came first
    goes, so that a flood of them keeps no member out."""

    async def scenario(net):
        node = await net.start(1)
        streams = [await net.stranger(1, HELLO[:19]) for _ in range(4)]
        assert await closed(streams[0]) == b""
        assert node.mesh.statistics()["without_hello"] == 3
        started = trio.current_time()
        await net.stranger(1, HELLO)
        await trio.sleep(0.1)
        assert node.mesh.connected == {3}
        for stream in streams[1:]:
            await closed(stream)
        assert 1.5 < trio.current_time() - started < 2.1
        assert node.mesh.statistics()["without_hello"] == 0

    with caplog.at_level(logging.WARNING):
        simulated(scenario, limits=Limits(hello=2, strangers=3))
    assert len(caplog.records) == 2


def test_a_flood_is_read_slowly():
    """A hundred messages and then a breath, so that one connection cannot keep a member busy."""

    async def scenario(net):
        node = await net.start(1)
        stream = await net.stranger(1, HELLO)

        async def flood():
            with trio.move_on_after(10):
                while True:
                    await stream.send_all(frame(b"x" * 600) * 100)

        await flood()
        assert len(node.received) < 10 / 0.1 * 300

    simulated(scenario)


def test_when_it_ends_everything_is_closed():
    async def scenario(net):
        one, two = await net.start(1), await net.start(2)
        one.mesh.send(2, b"x")
        await trio.sleep(1)
        stream = await net.stranger(1)
        one.scope.cancel()
        await closed(stream)
        await trio.sleep(1)
        assert net.connections(1, 2) == 0
        assert two.mesh.connected == frozenset()
        one.mesh.send(2, b"nothing happens")

    simulated(scenario)
