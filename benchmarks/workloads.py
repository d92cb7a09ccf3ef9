"""What each connection sends: blocks of requests, encoded before any clock runs.

A workload is a pattern of operations that is walked round and round; `depth` requests of it, with xids
1…depth, are one block.  Replies to an operation always have the same size (the names that are created are all
of one length), so a block is answered when that many bytes are in.
"""

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import frames
from client import Client

DATA = bytes(range(128))
ROOT = "/bench"
NODE = f"{ROOT}/node"
FAMILY = f"{ROOT}/family"

WORKLOADS: dict[str, tuple[str, ...]] = {
    "get": ("get",),
    "exists": ("exists",),
    "children": ("children",),
    "set": ("set",),
    "create": ("create",),
    # 80 % get, 10 % set, 5 % children, 5 % create
    "mixed": (*["get"] * 4, "set", *["get"] * 4, "children", *["get"] * 4, "set", *["get"] * 4, "create"),
}
MEANINGS = {
    "get": "getData of one node of 128 bytes",
    "exists": "exists of that node",
    "children": "getChildren2 of a node with 10 children",
    "set": "setData of 128 bytes, any version, each connection on a node of its own",
    "create": "create of persistent nodes of 128 bytes, unique names, each connection under its own node",
    "mixed": "80 % get, 10 % set, 5 % children, 5 % create",
}

# Requests that create are encoded ahead and kept: this many are enough, and bound both sides' memory.
MOST_AHEAD = {"create": 200_000, "mixed": 1_000_000}
# Nobody answers one connection more often than this; three of them saturate the generator.
ROUND_TRIPS_PER_SECOND = 40_000

# A block to send, and the bytes of its replies.
Block = tuple[bytes, int]


class Shape(NamedTuple):
    """How many connections, and how many requests each keeps outstanding."""

    connections: int
    depth: int

    def __str__(self) -> str:
        return f"{self.connections}×{self.depth}"

    @classmethod
    def parse(cls, words: str) -> "Shape":
        connections, _, depth = words.replace("×", "x").partition("x")
        shape = cls(int(connections), int(depth))
        if min(shape) < 1:
            raise ValueError(f"{words}: at least one connection and one request")
        return shape


def own_node(connection: int) -> str:
    """The node that this connection sets, and under which it creates."""
    return f"{ROOT}/c{connection:04}"


def _new_node(connection: int, number: int) -> str:
    return f"{own_node(connection)}/n{number:07}"


def prepare(client: Client, connections: int) -> None:
    """Make the nodes that all workloads need, where they are not there yet."""
    family = [FAMILY, *(f"{FAMILY}/child{n}" for n in range(10))]
    for path in [ROOT, NODE, *family, *(own_node(n) for n in range(connections))]:
        client.call(frames.CREATE, frames.create_body(path, DATA), accept=(frames.NODE_EXISTS,))


def clean(client: Client, connections: int) -> None:
    """Delete what `connections` connections have created."""
    for parent in map(own_node, range(connections)):
        reply = client.call(frames.GET_CHILDREN, frames.get_body(parent))
        names = frames.children_in(frames.split(reply)[0][2])
        client.call_many((frames.DELETE, frames.delete_body(f"{parent}/{name}")) for name in names)


_FIXED = {
    "get": (frames.GET_DATA, frames.get_body(NODE)),
    "exists": (frames.EXISTS, frames.get_body(NODE)),
    "children": (frames.GET_CHILDREN2, frames.get_body(FAMILY)),
}


def _operation(name: str, connection: int, number: int = 0) -> tuple[int, bytes]:
    if name == "set":
        return frames.SET_DATA, frames.set_body(own_node(connection), DATA)
    if name == "create":
        return frames.CREATE, frames.create_body(_new_node(connection, number), DATA)
    return _FIXED[name]


def reply_sizes(client: Client) -> dict[str, int]:
    """The bytes of one reply to each operation, by asking once.  Needs a prepared tree."""
    probe = 9_999_999
    names = ("get", "exists", "children", "set", "create")
    sizes = {name: len(client.call(*_operation(name, 0, probe))) for name in names}
    client.call(frames.DELETE, frames.delete_body(_new_node(0, probe)))
    return sizes


class Script:
    """The blocks of one connection.  Asked again, it goes on with names that were not used yet."""

    def __init__(self, workload: str, connection: int, depth: int, sizes: dict[str, int]) -> None:
        pattern = WORKLOADS[workload]
        start = connection % len(pattern)  # so that connections are not all at the same operation at once
        self._pattern = pattern[start:] + pattern[:start]
        self._connection = connection
        self._depth = depth
        self._sizes = sizes
        self._created = 0
        self._fixed = {
            name: [frames.request(xid, *_operation(name, connection)) for xid in range(1, depth + 1)]
            for name in set(pattern) - {"create"}
        }

    @property
    def bounded(self) -> bool:
        return "create" in self._pattern

    def blocks(self, requests: int) -> Iterator[Block]:
        """Blocks without end, or for about that many requests where names must be unique."""
        if not self.bounded:
            return repeat(self._block(0))
        return iter([self._block(first) for first in range(0, requests, self._depth)])

    def _block(self, first: int) -> Block:
        pattern, sizes = self._pattern, self._sizes
        names = [pattern[at % len(pattern)] for at in range(first, first + self._depth)]
        requests = [
            self._create(at + 1) if name == "create" else self._fixed[name][at]
            for at, name in enumerate(names)
        ]
        return b"".join(requests), sum([sizes[name] for name in names])

    def _create(self, xid: int) -> bytes:
        self._created += 1
        return frames.request(xid, *_operation("create", self._connection, self._created))


def requests_ahead(workload: str, shape: Shape, seconds: float) -> int:
    """How many requests to encode for each connection of a workload that creates."""
    most = seconds * ROUND_TRIPS_PER_SECOND * min(shape.connections, 3) * shape.depth
    return int(min(most, MOST_AHEAD.get(workload, 0))) // shape.connections + shape.depth
