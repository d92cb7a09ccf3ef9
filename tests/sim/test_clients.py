"""Simulated clients against one server, and the verdict on what they heard: it is clean, and it is not blind."""

from collections.abc import Callable
from random import Random

import pytest
import trio

from pyzkserver.state.transaction import Transaction
from pyzkserver.storage.txncodec import decode_transaction
from pyzkserver.wire.requests import OpCode

from .addresses import CLIENT_PORT, client_address, member_address
from .disk import SimDisk
from .ensemble_client import REGISTERS, EnsembleClient, furnish
from .history import Event, History
from .host import SimHost, seeded_run
from .network import Network, Weather
from .port import serve_clients
from .server import DATA_DIR, SimServer, settings
from .verdict import Verdict

SERVER = member_address(1)


def conversation(
    seed: int, spoil: Callable[[SimServer], None] = lambda server: None
) -> tuple[History, list[Transaction]]:
    """Three clients and a server for five seconds, on a network that drops their connections."""
    history, committed = History(), list[Transaction]()

    async def main() -> None:
        random = Random(seed)
        network = Network(random)
        disk = SimDisk(seed, existing=(DATA_DIR.parent,))
        host = SimHost(disk, random, slowness=0.02, machine=network.machine(SERVER))
        server = SimServer(settings(), host)
        append = server.replica.log.append_payloads

        def noted(first: int, last: int, payloads: list[bytes], digested: bool = True) -> None:
            committed.extend(decode_transaction(payload).txn for payload in payloads)
            append(first, last, payloads, digested)

        server.store.log.append_payloads = noted  # type: ignore[union-attr, method-assign]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            nursery.start_soon(serve_clients, server.service, host, CLIENT_PORT)
            await furnish(network.machine(client_address(0)), [SERVER], history)
            spoil(server)
            for number in range(1, 4):
                machine = network.machine(client_address(number))
                network.weather(SERVER, machine.address, Weather(0.002, 0.01, 0.05))
                client = EnsembleClient(
                    f"c{number}", machine, [SERVER], history, Random(f"{seed} {number}"), pause=0.02
                )
                nursery.start_soon(client.run)
            for _ in range(10):
                await trio.sleep(0.5)
                unlucky = client_address(random.randrange(1, 4))
                random.choice((network.reset_between, network.lose_between))(SERVER, unlucky)
            nursery.cancel_scope.cancel()
        while committed[-1].zxid > server.replica.tree.last_zxid:
            committed.pop()  # it was not safe yet

    seeded_run(seed, main)
    return history, committed


@pytest.mark.parametrize("seed", range(8))
def test_one_server_tells_the_truth(seed: int) -> None:
    history, committed = conversation(seed)
    verdict = Verdict(history, committed, registers=REGISTERS)
    assert not verdict.complaints, "\n".join(verdict.complaints)
    assert verdict.undecided == 0
    assert len(history.acknowledged_writes()) > 100
    assert sum(isinstance(each, Event) for heard in history.heard.values() for each in heard) > 5
    assert {call.kind for call in history.calls if call.acknowledged} >= {"set", "multi", "children", "get"}


def complaints(spoil: Callable[[SimServer], None]) -> str:
    history, committed = conversation(1, spoil)
    return "\n".join(Verdict(history, committed, registers=REGISTERS).complaints)


def test_it_sees_a_lost_write() -> None:
    history, committed = conversation(1)
    call = history.acknowledged_writes()[20]
    kept = [txn for txn in committed if txn.zxid != call.zxid]
    assert f"lost: {call}" in Verdict(history, kept).complaints[0]


def test_it_sees_an_old_read() -> None:
    history, committed = conversation(1)
    reads = [call for call in history.calls if call.kind == "get" and call.value and call.synced]
    first = reads[0]
    last = next(read for read in reversed(reads) if (read.path, read.value) != (first.path, first.value))
    last.path, last.value, last.mzxid = first.path, first.value, first.mzxid
    told = Verdict(history, committed, registers=REGISTERS).complaints
    assert any(each.startswith(f"untrue: {last}") for each in told)
    assert any("is not linearizable" in each for each in told)


def test_it_sees_a_synced_read_of_an_old_state() -> None:
    """True of its zxid, and yet too old for who asked after a write was answered."""
    history, committed = conversation(1)
    reads = [call for call in history.calls if call.kind == "get" and call.value and call.synced]
    first = reads[0]
    last = next(read for read in reversed(reads) if read.path == first.path and read.value != first.value)
    last.zxid, last.value, last.mzxid = first.zxid, first.value, first.mzxid
    told = Verdict(history, committed, registers=REGISTERS).complaints
    assert any(each.startswith(f"out of order: {last}") for each in told)
    # Unless its leader was deposed: that is counted.
    verdict = Verdict(history, committed, established=[(0.0, 1)])
    assert verdict.stale == 1


def test_it_sees_an_early_reply() -> None:
    """A write that is answered and then never happens."""

    def spoil(server: SimServer) -> None:
        tree = server.replica.tree
        apply = tree.apply

        def forgetful(txn: Transaction) -> object:
            node = tree.nodes[txn.body.path] if txn.op == OpCode.SET_DATA else None  # type: ignore[union-attr]
            before = node.data if node is not None else None
            applied = apply(txn)
            if node is not None and txn.zxid % 7 == 0:
                node.data = before
            return applied

        tree.apply = forgetful  # type: ignore[assignment, method-assign]
        server.replica.quick_writes = False  # which do not come by there

    told = complaints(spoil)
    assert "untrue" in told
    assert "is not linearizable" in told


def test_it_sees_that_a_watch_was_not_told() -> None:
    history, committed = conversation(1)
    heard = history.heard["c1"]
    heard.remove(next(each for each in heard if isinstance(each, Event)))
    assert any("was not told" in each for each in Verdict(history, committed).complaints)


def test_it_sees_an_event_that_nobody_waited_for() -> None:
    history, committed = conversation(1)
    history.heard["c1"].insert(0, Event("NODE_DELETED", REGISTERS[0]))
    assert any("watches no such thing" in each for each in Verdict(history, committed).complaints)


def test_it_sees_time_go_backwards() -> None:
    history, committed = conversation(1)
    heard = [call for call in history.heard["c1"] if not isinstance(call, Event) and not call.err]
    last = heard[-1]
    last.zxid = heard[0].zxid
    assert any("back in time" in each for each in Verdict(history, committed).complaints)
