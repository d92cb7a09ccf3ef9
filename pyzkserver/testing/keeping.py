"""What a server holds, changed from outside: put in, kept aside, put back, reset."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trio

from pyzkserver.config import Config
from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.server import new_tree
from pyzkserver.state.savepoint import Savepoint
from pyzkserver.state.sessions import Session
from pyzkserver.wire.records import CreateFlag
from pyzkserver.wire.requests import CreateRequest, CreateTTLRequest, DeleteRequest, OpCode, SetDataRequest

from .contents import IMPLIED, Contents, ContentsError, State, Tree, Znode, contents_of, znodes_of
from .control import Control, Told
from .sessions import check_sessions, session_ids_of

__all__ = ["Keeping"]

_SUPER = (("super", ""),)


class Keeping(Control):
    """The operations on contents.  A server's clients see them as changes that somebody else made."""

    config: Config

    def _begin(self) -> None:
        """A server starts anew."""
        self._initial: State | None = None
        self._kept: dict[int, None] = {}

    async def _bring_in(self, contents: Contents | None) -> None:
        """What it begins with, and is reset to."""
        # The server is ready, but the task behind its port may have to take its first step yet.
        await trio.lowlevel.checkpoint()
        if contents is not None:
            read = contents_of(contents)
            if isinstance(read, State):
                self._put_back(read, frozenset(), first=True)
            else:
                await self._put(read)
        if self.config.data_dir is None:
            self._initial = self._snapshot()
        self._untouched = self.running.replica.tree.last_zxid

    # single nodes

    def put(self, tree: "Tree") -> None:
        """Create these nodes, or set their data where they exist, as somebody would who may do everything.

        Watchers are told.  Raises ZooKeeperError where a node cannot be, with its path; those before it are there.
        A member of an ensemble must be its leader.
        """
        self.run(self._put, znodes_of(tree))

    async def _put(self, znodes: dict[str, Znode]) -> None:
        with _Writer(self.running.replica) as writer:
            for path, znode in znodes.items():
                writer.put(path, znode)
            await writer.done()

    def delete(self, path: str) -> None:
        """Delete a node and all below it; watchers are told.  Raises ZooKeeperError where it does not exist."""
        self.run(self._delete, path)

    async def _delete(self, path: str) -> None:
        nodes = self.running.replica.tree.nodes
        below = [other for other in nodes if other.startswith(path + "/")]
        with _Writer(self.running.replica) as writer:
            for each in (*reversed(below), path):  # children first
                writer.submit(each, OpCode.DELETE, DeleteRequest(each, -1))
            await writer.done()

    # whole states

    def snapshot(self) -> State:
        """Everything that a server in memory holds, to be given to ``restore`` or to another server."""
        return self.run(self._snapshot)

    def _snapshot(self) -> State:
        replica = self._in_memory("snapshot")
        sessions = {each.id: each.timeout for each in replica.sessions.by_id.values() if not each.closing}
        return State(Savepoint(replica.tree), sessions)

    def restore(self, contents: "Contents", *, keep: object | Iterable[object] = ()) -> None:
        """Make a server in memory hold this and nothing else: a snapshot, or whatever it could begin with.

        Afterwards exactly the sessions of that state exist, and those of ``keep`` (kazoo clients or session ids) that
        are connected: who has one of them stays connected, all others are cut off, and their sessions are gone.
        Watches of those who stay are told of each difference.  Zxids do not go back.  Raises ContentsError, and
        ValueError for a session that is not there.
        """
        stay = session_ids_of(keep)
        read = contents_of(contents)
        if isinstance(read, State):
            self.run(self._restore, read, stay)
        else:
            self.run(self._restore, State(Savepoint(new_tree(self.config)), {}), stay)
            self.run(self._put, read)

    def _restore(self, state: State, keep: Iterable[int]) -> None:
        check_sessions(keep, self.running.replica.sessions)
        self._put_back(state, frozenset((*keep, *self._kept)))

    def reset(self, *, keep: object | Iterable[object] = ()) -> None:
        """Make a server in memory hold what it began with, as ``restore`` does.

        Faults are over, and the recording and the counters begin anew.  The clock stays where it is.
        """
        self.run(self._reset, session_ids_of(keep))

    def _reset(self, keep: Iterable[int]) -> None:
        self._in_memory("reset")
        assert self._initial is not None
        self._restore(self._initial, keep)
        self.running.service.statistics.reset()
        self._untouched = self.running.replica.tree.last_zxid

    @property
    def is_touched(self) -> bool:
        """Whether there is anything that ``reset`` would undo; those who are to be kept do not count."""
        running = self.running
        return (
            running.replica.tree.last_zxid != self._untouched
            or not running.replica.sessions.by_id.keys() <= self._kept.keys()
        )

    def keep(self, *clients: object) -> None:
        """The sessions of these (kazoo clients or session ids) live through every reset and restore from now on.

        Raises ValueError for a session that is not there.
        """
        self.run(self._keep, session_ids_of(clients))

    def _keep(self, ids: Iterable[int]) -> None:
        check_sessions(ids, self.running.replica.sessions)
        self._kept.update(dict.fromkeys(ids))

    def _in_memory(self, what: str) -> Replica:
        replica = self.running.replica
        if not replica.log.immediate:
            raise RuntimeError(
                f"{what}() is for servers in memory, and alone: what is in a data directory, or in the other members"
                " of an ensemble, cannot be taken back. Start another one"
            )
        return replica

    def _put_back(self, state: State, keep: frozenset[int], *, first: bool = False) -> None:
        replica = self._in_memory("restore")
        if state.nodes.ttl_nodes and not replica.tree.extended_types:
            raise ContentsError(
                "there are TTL nodes in it, which this server has not: extended_types_enabled=True"
            )
        sessions, tree = replica.sessions, replica.tree
        for session in list(sessions.by_id.values()):
            if session.id not in state.sessions and (session.id not in keep or session.owner is None):
                _cut_off(replica, session)
        sessions.recover(state.sessions, state.nodes.ephemerals, self._host.elapsed_ms())
        zxid = replica.last_proposed + (not first)
        state.nodes.put_back(tree, max(zxid, state.nodes.last_zxid))
        replica.last_proposed = tree.last_zxid

    def save(self, path: str | Path) -> None:
        """Write all that the server holds to a .json or .yaml file, as ``pyzkserver dump`` does.

        It can be what another server begins with (``tree=``).
        """
        self.run(self._save, Path(path))

    def _save(self, path: Path) -> None:
        from pyzkserver.tools.dumpwriter import JsonWriter, YamlWriter, write

        replica = self.running.replica
        sessions = {each.id: each.timeout for each in replica.sessions.by_id.values()}
        with path.open("w", encoding="utf-8", newline="\n") as out:
            is_yaml = path.suffix in (".yaml", ".yml")
            write(
                replica.tree,
                replica.tree.last_zxid,
                sessions,
                YamlWriter(out) if is_yaml else JsonWriter(out),
            )


def _cut_off(replica: Replica, session: Session) -> None:
    """The session is gone, and its client, if it has one, finds that out when it comes back."""
    replica.sessions.remove(session.id)
    connection: Any = session.owner
    if connection is not None:
        connection.session_ended()
        replica.tree.watches.remove_watcher(connection)


class _Writer:
    """Somebody who may do everything, and has a session that no transaction tells of."""

    def __init__(self, replica: Replica) -> None:
        if replica.role.asks_elsewhere:
            raise RuntimeError("this member asks its leader for every change: have the leader make it")
        self._replica = replica
        self._told = Told()
        self._paths: list[str] = []

    def __enter__(self) -> "_Writer":
        sessions = self._replica.sessions
        self._session = sessions.track(sessions.new_id(), 10**9, self._replica.host.elapsed_ms())
        return self

    def __exit__(self, *error: object) -> None:
        self._replica.sessions.remove(self._session.id)

    def put(self, path: str, znode: Znode) -> None:
        """Create it or set its data."""
        data = znode.data_bytes()
        if self._replica.pending.find(path) is not None:
            if znode is not IMPLIED:
                self.submit(path, OpCode.SET_DATA, SetDataRequest(path, data, -1))
        elif znode.ttl is not None:
            request = CreateTTLRequest(
                path, data, znode.acl_entries(), CreateFlag.PERSISTENT_WITH_TTL, znode.ttl
            )
            self.submit(path, OpCode.CREATE_TTL, request)
        else:
            op = OpCode.CREATE_CONTAINER if znode.container else OpCode.CREATE
            flags = CreateFlag.CONTAINER if znode.container else CreateFlag.PERSISTENT
            self.submit(path, op, CreateRequest(path, data, znode.acl_entries(), flags))

    def submit(self, path: str, op: int, request: Any) -> None:
        """Ask for it; what comes of it is known when ``done``."""
        self._paths.append(path)
        self._told.expected += 1
        self._replica.submit(Proposal(op, request, self._session.id, 0, _SUPER, self._told))

    async def done(self) -> None:
        """Wait until all of it is.  Raises ZooKeeperError for the first that was refused."""
        await self._told.all()
        for path, applied in zip(self._paths, self._told.applied, strict=True):
            if applied.err:
                raise ZooKeeperError(ErrorCode(applied.err), path)
