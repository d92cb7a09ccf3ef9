"""The load generator: one process, raw non-blocking sockets, frames encoded before the clock starts.

Each connection sends a block of `depth` requests, waits until all its replies are in, and at once sends the
next block (block-wise: between two blocks nothing of that connection is outstanding).  The timed loop only
counts bytes; the first and the last block of every connection, and some in between, are taken apart and
checked for order and errors.  A reply with an error is shorter than the right one, so its block never becomes
complete and the run fails, saying why.

    python benchmarks/load.py PORT --workload get --shape 10x100     measure a server that runs
    python benchmarks/load.py --ceiling --shape 10x100               the generator's own limit
"""

import argparse
import functools
import gc
import json
import select
import socket
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import frames
from ceiling import Ceiling
from client import HOST, Client
from workloads import MEANINGS, WORKLOADS, Block, Script, Shape, clean, prepare, reply_sizes, requests_ahead

STALLED_AFTER = 10  # seconds without any reply
CHUNK = 1 << 16
SEND_BUFFER = 1 << 20
SAMPLE_EVERY = 64  # wake-ups


@dataclass(frozen=True)
class Result:
    """One measurement.  Latencies are those of blocks: from its send to the last of its replies, in µs."""

    workload: str
    shape: str
    requests: int
    seconds: float
    requests_per_second: float
    mean_us: float
    p50_us: float
    p99_us: float
    generator_cpu: float  # of one core: near 1, the generator itself limits
    blocks_checked: int


class Connection:
    """One connection and the block it waits for."""

    __slots__ = (
        *("checked", "chunks", "depth", "missing", "next_block", "recv_into"),
        *("sampled", "send", "socket", "started", "take_care"),
    )

    def __init__(self, port: int, depth: int) -> None:
        self.depth = depth
        self.missing = 0  # bytes until the block is answered; 0: nothing is outstanding
        self.started = 0
        self.sampled = False  # check the outstanding block's replies
        self.take_care = False  # it is a sample, or came in pieces so far: what comes goes through take()
        self.checked = 0
        self.chunks: list[bytes] = []  # the pieces
        self.next_block: Callable[[], Block] = iter(()).__next__
        self.socket = socket.create_connection((HOST, port), STALLED_AFTER)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.recv_into, self.send = self.socket.recv_into, self.socket.send

    def open_session(self) -> None:
        self.socket.sendall(frames.connect_request())
        if not self.socket.recv(CHUNK):
            raise ConnectionResetError("the server refused the session")
        self.socket.setblocking(False)

    def close_session(self) -> None:
        """Close the session politely where nothing is outstanding, else just the connection."""
        if not self.missing:
            self.socket.settimeout(STALLED_AFTER)
            self.socket.sendall(frames.request(1, frames.CLOSE))
            self.socket.recv(CHUNK)
        self.socket.close()

    def send_block(self, now: int) -> None:
        """Send the next block.  StopIteration where there is none."""
        block, self.missing = self.next_block()
        self.started = now
        if self.send(block) != len(block):
            raise ValueError(f"a block of {len(block)} bytes does not fit into the socket's buffer")

    def sample(self) -> None:
        self.sampled = self.take_care = True

    def take(self, data: memoryview) -> bool:
        """The careful way in, for pieces of a block and for samples: is the block complete now?"""
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self.chunks.append(bytes(data))
        if len(data) < self.missing:
            self.missing -= len(data)
            self.take_care = True
            return False
        if self.sampled or len(data) > self.missing:
            frames.check_block(b"".join(self.chunks), self.depth)
            self.checked += 1
        if len(data) > self.missing:
            raise frames.ReplyError(f"{len(data) - self.missing} bytes more than a block's replies")
        self.chunks.clear()
        self.sampled = self.take_care = False
        self.missing = 0
        return True

    def complain(self) -> frames.ReplyError:
        """Why this connection waits in vain."""
        replies = frames.split(b"".join(self.chunks))
        errors = sorted({err for _, err, _ in replies if err})
        return frames.ReplyError(
            f"no reply for {STALLED_AFTER} s: {len(replies)} of {self.depth} replies are in, "
            f"{self.missing} bytes are missing, error codes: {errors or 'none'}"
        )


class Load:
    """A workload on a number of connections; use as a context.  Deletes what it created when left.

    With `others`, members of an ensemble, the connections take turns: the first to `port`, and so on.
    """

    def __init__(self, port: int, workload: str, shape: Shape, others: Sequence[int] = ()) -> None:
        self._port, self._workload, self._shape = port, workload, shape
        self._others = others
        self._connections: list[Connection] = []
        with Client(port) as client:
            prepare(client, shape.connections)
            sizes = reply_sizes(client)
        self._scripts = [Script(workload, n, shape.depth, sizes) for n in range(shape.connections)]

    def __enter__(self) -> "Load":
        self._connections = open_all(self._port, self._shape, self._others)
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        for connection in self._connections:
            connection.close_session() if kind is None else connection.socket.close()
        if kind is None and self._scripts[0].bounded:
            with Client(self._port) as client:
                clean(client, self._shape.connections)

    def run(self, seconds: float) -> Result:
        """Measure for that long, or until a connection has nothing left to create."""
        ahead = requests_ahead(self._workload, self._shape, seconds)
        scripts = [script.blocks(ahead) for script in self._scripts]
        return measure(self._connections, scripts, seconds, self._workload, self._shape)


def open_all(port: int, shape: Shape, others: Sequence[int] = ()) -> list[Connection]:
    ports = (port, *others)
    connections = [Connection(ports[n % len(ports)], shape.depth) for n in range(shape.connections)]
    for connection in connections:
        connection.open_session()
    return connections


def measure(
    connections: list[Connection], scripts: list[Iterator[Block]], seconds: float, workload: str, shape: Shape
) -> Result:
    for connection, blocks in zip(connections, scripts, strict=True):
        connection.next_block = blocks.__next__
        connection.checked = 0
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        cpu = time.process_time()
        elapsed, latencies = pump(connections, int(seconds * 1e9))
        cpu = time.process_time() - cpu
    finally:
        gc.enable()
        gc.unfreeze()
    requests = len(latencies) * shape.depth
    ordered = sorted(latencies)
    return Result(
        workload=workload,
        shape=str(shape),
        requests=requests,
        seconds=round(elapsed / 1e9, 3),
        requests_per_second=round(requests / elapsed * 1e9, 1),
        mean_us=round(sum(ordered) / len(ordered) / 1e3, 1),
        p50_us=round(ordered[len(ordered) // 2] / 1e3, 1),
        p99_us=round(ordered[len(ordered) * 99 // 100] / 1e3, 1),
        generator_cpu=round(cpu / elapsed * 1e9, 2),
        blocks_checked=sum(connection.checked for connection in connections),
    )


def pump(connections: list[Connection], duration: int) -> tuple[int, "array[int]"]:
    """The timed loop.  The nanoseconds it took, and those of every block."""
    wait, table = poller(connections), {c.socket.fileno(): c for c in connections}
    view = memoryview(bytearray(CHUNK))
    clock = time.perf_counter_ns
    latencies = array("q")
    note = latencies.append
    wakeups = 0
    now = start = clock()
    deadline = start + duration
    try:
        for connection in connections:
            connection.sample()
            connection.send_block(now)
        while now < deadline:
            events = wait()
            wakeups += 1
            if not wakeups % SAMPLE_EVERY:
                connections[wakeups // SAMPLE_EVERY % len(connections)].sample()
            if not events:
                raise next(c for c in connections if c.missing).complain()
            for fd, _ in events:
                connection = table[fd]
                size = connection.recv_into(view)
                if (size != connection.missing or connection.take_care) and not connection.take(view[:size]):
                    continue
                now = clock()
                note(now - connection.started)
                connection.missing = 0
                block, connection.missing = connection.next_block()
                connection.started = now
                if connection.send(block) != len(block):
                    raise ValueError(f"a block of {len(block)} bytes does not fit into the socket's buffer")
    except StopIteration:
        pass  # nothing left to create
    drain(connections, wait, table)
    return now - start, latencies


def drain(
    connections: list[Connection], wait: Callable[[], list[tuple[int, int]]], table: dict[int, Connection]
) -> None:
    """Take and check the last block of every connection, off the clock."""
    view = memoryview(bytearray(CHUNK))
    for connection in connections:
        connection.sample()
    while waiting := [c for c in connections if c.missing]:
        events = wait()
        if not events:
            raise waiting[0].complain()
        for fd, _ in events:
            table[fd].take(view[: table[fd].recv_into(view)])


def poller(connections: list[Connection]) -> Callable[[], list[tuple[int, int]]]:
    """A call that waits for readable connections: epoll, or poll where there is none."""
    if hasattr(select, "epoll"):
        epoll = select.epoll()
        for connection in connections:
            epoll.register(connection.socket.fileno(), select.EPOLLIN)
        return functools.partial(epoll.poll, STALLED_AFTER)
    poll = select.poll()
    for connection in connections:
        poll.register(connection.socket.fileno(), select.POLLIN)
    return functools.partial(poll.poll, STALLED_AFTER * 1000)


def measure_ceiling(shape: Shape, seconds: float) -> Result:
    """`get` against a server that does nothing but answer constants."""
    sizes = {"get": 220}
    block, reply_size = next(Script("get", 0, shape.depth, sizes).blocks(0))
    with Ceiling(len(block), reply_size, shape.depth) as port:
        connections = open_all(port, shape)
        scripts = [Script("get", n, shape.depth, sizes).blocks(0) for n in range(shape.connections)]
        try:
            return measure(connections, scripts, seconds, "ceiling", shape)
        finally:
            for connection in connections:
                connection.socket.close()


def command_line(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows a file's docstring as it stands."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("port", type=int, nargs="?", help="of a server on 127.0.0.1")
    parser.add_argument("--workload", choices=WORKLOADS, default="get")
    parser.add_argument("--shape", type=Shape.parse, default=Shape(1, 1), help="connections x depth (1x1)")
    parser.add_argument("--seconds", type=float, default=5.0, help="to measure (5)")
    parser.add_argument("--warmup", type=float, default=1.0, help="seconds before that (1)")
    parser.add_argument("--ceiling", action="store_true", help="measure the generator itself, on get")
    args = parser.parse_args()
    if args.ceiling:
        result = measure_ceiling(args.shape, args.seconds)
        meaning = "get, answered with constants by a server that does nothing"
    elif args.port is None:
        parser.error("which port? (or --ceiling)")
    else:
        with Load(args.port, args.workload, args.shape) as load:
            load.run(args.warmup)
            result = load.run(args.seconds)
        meaning = MEANINGS[args.workload]
    found = {"meaning": meaning, "sending": "block-wise", **asdict(result)}
    print(json.dumps(found, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
