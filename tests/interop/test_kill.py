"""kill -9 at random moments, under load: a real process, a real disk, real sockets.

Every client keeps a book of what it asked for and what it was told, and holds it against each server that
comes after.  ``KILLS=1000 pytest -m slow tests/interop/test_kill.py`` kills a thousand.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from serving.talk import (
    OPEN,
    Call,
    Reply,
    Welcome,
    children,
    create,
    data_of,
    delete,
    get,
    hello,
    names_of,
    packets,
    read_answer,
    read_welcome,
    set_data,
)

from pyzkserver.wire.requests import (
    CheckVersionRequest,
    CreateRequest,
    MultiOp,
    MultiRequest,
    MultiResponse,
    OpCode,
    SetDataRequest,
)

KILLS = int(os.environ.get("KILLS", "25"))
SEED = int(os.environ.get("KILL_SEED", "0"))
CLIENTS = 4
TIMEOUT = 40_000  # ms; the sessions must survive the kills
PATIENCE = 30.0  # s
REFUSED = b"refused"

ZOO_CFG = """\
tickTime=2000
dataDir={folder}/data
clientPort=0
clientPortAddress=127.0.0.1
snapCount=400
preAllocSize=64
autopurge.purgeInterval=1
"""


# --- the server ---------------------------------------------------------------------------------------------


class ServerProcess:
    """One server, from its start to its violent end."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pyzkserver", str(folder / "zoo.cfg")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def port(self) -> int:
        """Wait until it is ready."""
        assert self.process.stdout is not None
        greeting = self.process.stdout.readline().decode()
        assert " is ready on 127.0.0.1:" in greeting, greeting
        return int(greeting.partition("127.0.0.1:")[2].split(";")[0].split()[0].rstrip(".,"))

    def kill(self) -> None:
        """Without a warning."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


# --- the clients --------------------------------------------------------------------------------------------


class HungUp(Exception):
    """The server is gone."""


class Wire:
    """One connection, blocking."""

    def __init__(self, port: int) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except OSError as error:
            raise HungUp from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = b""

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError as error:
            raise HungUp from error

    def read_frame(self) -> bytes:
        while True:
            if len(self._input) >= 4:
                end = 4 + int.from_bytes(self._input[:4])
                if len(self._input) >= end:
                    payload, self._input = self._input[4:end], self._input[end:]
                    return payload
            try:
                data = self._socket.recv(1 << 16)
            except ConnectionError as error:
                raise HungUp from error
            if not data:
                raise HungUp
            self._input += data


@dataclass
class Book:
    """What a client wrote to its nodes, where nobody else writes."""

    acked: int = 0
    """The last value that was acknowledged, of the one node."""
    sent: int = 0
    """The last one that was asked for."""
    pair_acked: int = 0
    pair_sent: int = 0
    """The same of the two nodes that are changed together."""
    names: set[str] = field(default_factory=set)
    """Children that are there for certain."""
    doubtful: set[str] = field(default_factory=set)
    """Children that may be there or not: the last that was heard of them is a request."""
    zxid: int = 0
    acknowledged: int = 0
    refused: int = 0


def set_pair(first: str, second: str, value: int) -> Call:
    data = str(value).encode()
    requests = [SetDataRequest(path, data, -1) for path in (first, second)]
    return OpCode.MULTI, MultiRequest([MultiOp(OpCode.SET_DATA, request) for request in requests])


def impossible(path: str, parent: str) -> Call:
    """A multi of which the last part fails."""
    return OpCode.MULTI, MultiRequest(
        [
            MultiOp(OpCode.CREATE, CreateRequest(path, REFUSED, OPEN, 0)),
            MultiOp(OpCode.CHECK, CheckVersionRequest(parent, 999_999)),
        ]
    )


Noted = tuple[Call, Callable[[], None] | None]
"""A request, and what to note when it was acknowledged; None for one that must be refused."""


class Client:
    """One client, with one session for all servers."""

    def __init__(self, number: int, seed: int) -> None:
        self.random = random.Random(f"{seed} {number}")
        self.home = f"/client-{number}"
        self.one, self.left, self.right = f"{self.home}-one", f"{self.home}-left", f"{self.home}-right"
        self.ephemeral = f"{self.home}-ephemeral"
        self.book = Book()
        self.session_id = 0
        self.password: bytes | None = bytes(16)
        self.failure: BaseException | None = None
        self.ready = threading.Event()
        self._wire: Wire
        self._xid = 0

    def run(self, port: int) -> None:
        """Look whether everything is as it should be, and then write until the server dies."""
        try:
            self._wire = Wire(port)
            try:
                self._greet()
                if not self.book.sent:
                    self._furnish()
                self._check()
                self.ready.set()
                while True:
                    self._write_some()
            finally:
                self._wire.close()
        except HungUp:
            pass
        except BaseException as failure:
            self.failure = failure
        finally:
            self.ready.set()

    def _greet(self) -> None:
        """With the last zxid that was seen: a server that knows less hangs up."""
        self._wire.send(
            hello(TIMEOUT, session_id=self.session_id, password=self.password, last_zxid=self.book.zxid)
        )
        welcome: Welcome = read_welcome(self._wire.read_frame())
        assert welcome.timeout > 0, f"{self.home}: its session was lost"
        assert self.session_id in (0, welcome.session_id)
        self.session_id, self.password = welcome.session_id, welcome.password

    def _ask(self, *calls: Call) -> Iterator[Reply]:
        self._wire.send(packets(calls, self._xid + 1))
        for _ in calls:
            answer = read_answer(self._wire.read_frame())
            assert isinstance(answer, Reply)
            self._xid += 1
            assert answer.xid == self._xid
            assert answer.zxid >= self.book.zxid
            self.book.zxid = answer.zxid
            yield answer

    def _furnish(self) -> None:
        """It may have been done by halves before."""
        paths = (self.home, self.one, self.left, self.right)
        replies = list(self._ask(*(create(path, b"0") for path in paths)))
        replies += self._ask(create(self.ephemeral, b"", flags=1))
        assert all(reply.err in (0, -110) for reply in replies)

    def _check(self) -> None:
        """Hold the book against what is there; from now on it is what is there."""
        book = self.book
        one, left, right, names, ephemeral = self._ask(
            get(self.one), get(self.left), get(self.right), children(self.home), get(self.ephemeral)
        )
        value = int(data_of(one) or b"")
        assert book.acked <= value <= book.sent, (self.one, book.acked, value, book.sent)
        assert data_of(left) == data_of(right), "half of a multi is there"
        pair = int(data_of(left) or b"")
        assert book.pair_acked <= pair <= book.pair_sent, (self.left, book.pair_acked, pair, book.pair_sent)
        found = set(names_of(names))
        assert book.names <= found, f"lost: {book.names - found}"
        assert found <= book.names | book.doubtful, f"never asked for, or refused: {found}"
        assert ephemeral.err == 0, f"{self.ephemeral} went before its session"
        book.acked = book.sent = value
        book.pair_acked = book.pair_sent = pair
        book.names, book.doubtful = found, set()

    def _write_some(self) -> None:
        """A few requests in one go."""
        kinds = (self._set, self._set, self._change_pair, self._create, self._delete, self._ask_in_vain)
        chosen = [self.random.choice(kinds)() for _ in range(self.random.choice((1, 2, 5, 10)))]
        for reply, (call, acknowledged) in zip(self._ask(*(call for call, _ in chosen)), chosen, strict=True):
            if acknowledged is None:
                self.book.refused += 1
                errors = [reply.err]
                if call[0] == OpCode.MULTI:
                    errors += [result.err for result in MultiResponse.decode(reply.body).results]
                assert any(errors), "a request that must be refused was not"
            else:
                assert reply.err == 0, (call, reply)
                self.book.acknowledged += 1
                acknowledged()

    # Each makes a request, and notes that it was made.

    def _set(self) -> Noted:
        self.book.sent += 1
        value = self.book.sent

        def acknowledged() -> None:
            self.book.acked = value

        return set_data(self.one, str(value).encode()), acknowledged

    def _change_pair(self) -> Noted:
        self.book.pair_sent += 1
        value = self.book.pair_sent

        def acknowledged() -> None:
            self.book.pair_acked = value

        return set_pair(self.left, self.right, value), acknowledged

    def _create(self) -> Noted:
        name = f"{self.random.randrange(1 << 48):x}"
        self.book.doubtful.add(name)

        def acknowledged() -> None:
            self.book.doubtful.discard(name)
            self.book.names.add(name)

        return create(f"{self.home}/{name}", b"x" * self.random.choice((0, 10, 1000))), acknowledged

    def _delete(self) -> Noted:
        if not self.book.names:
            return self._create()
        name = self.random.choice(sorted(self.book.names))
        self.book.names.discard(name)
        self.book.doubtful.add(name)
        return delete(f"{self.home}/{name}"), lambda: self.book.doubtful.discard(name)

    def _ask_in_vain(self) -> Noted:
        name = f"{self.random.randrange(1 << 48):x}"
        calls = (
            set_data(self.one, REFUSED, 999_999),
            create(self.one, REFUSED),
            create(f"{self.home}/no/{name}", REFUSED),
            impossible(f"{self.home}/{name}", self.home),
        )
        return self.random.choice(calls), None


# --- the kills ----------------------------------------------------------------------------------------------


@dataclass
class Figures:
    kills: int = 0
    before_ready: int = 0
    acknowledged: int = 0
    refused: int = 0
    seconds: float = 0.0


def kill_again_and_again(folder: Path, kills: int, seed: int) -> Figures:
    """Start, check, write, kill; and at the end check once more."""
    (folder / "zoo.cfg").write_text(ZOO_CFG.format(folder=folder))
    chance = random.Random(seed)
    clients = [Client(number, seed) for number in range(CLIENTS)]
    figures, started = Figures(), time.monotonic()
    for kill in range(kills + 1):
        server = ServerProcess(folder)
        try:
            if kill < kills and chance.random() < 0.15:
                # While it starts, perhaps in the middle of its recovery.
                time.sleep(chance.random() * 0.3)
                figures.before_ready += 1
                continue
            with at_work(clients, server.port()):
                if kill < kills:
                    time.sleep(chance.random() * 0.15)
                    server.process.send_signal(signal.SIGKILL)
                else:
                    server.process.send_signal(signal.SIGTERM)
        finally:
            server.kill()
            figures.kills += kill < kills
    figures.seconds = time.monotonic() - started
    figures.acknowledged = sum(client.book.acknowledged for client in clients)
    figures.refused = sum(client.book.refused for client in clients)
    return figures


@contextmanager
def at_work(clients: list[Client], port: int) -> Iterator[None]:
    """All clients found everything as it should be, and write; when this is left, the server is dying."""
    threads = [threading.Thread(target=client.run, args=(port,), daemon=True) for client in clients]
    for client, thread in zip(clients, threads, strict=True):
        client.ready.clear()
        thread.start()
    for client in clients:
        client.ready.wait()
    _raise_first(clients)
    yield
    for thread in threads:
        thread.join()
    _raise_first(clients)


def _raise_first(clients: list[Client]) -> None:
    for client in clients:
        if client.failure is not None:
            raise client.failure


def test_a_few_kills(tmp_path: Path) -> None:
    """No acknowledged write is lost, no refused one shows, multis are whole, sessions go on."""
    figures = kill_again_and_again(tmp_path, 5, SEED)
    assert figures.acknowledged > 0


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_many_kills(tmp_path: Path) -> None:
    """The same, so often that rare moments are hit, too."""
    figures = kill_again_and_again(tmp_path, KILLS, SEED)
    print(figures)
    assert figures.kills == KILLS
    assert figures.acknowledged > KILLS
    assert figures.refused > 0
