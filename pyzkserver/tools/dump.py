"""``pyzkserver dump``: everything that a data directory holds, as JSON or YAML that people can read and edit."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from .command import DONE, UNUSABLE, ToolError, say
from .directories import State, find_existing, read_state
from .dumpwriter import JsonWriter, Writer, YamlWriter, write
from .forms import counted, hex64

__all__ = ["main"]

_DESCRIPTION = """\
Writes the whole tree of a data directory: data, ACLs, times, versions, zxids, sequence counters, owners of
ephemeral nodes, and the sessions.  `pyzkserver restore` makes a data directory of it again.

The directory is only read.  It may be that of a running server, ours or Apache's: what is written then is the
state up to some transaction, and which one is said.
"""
_STATUS = "Exit status: 0 done; 1 the directory is damaged; 2 it cannot be read, or the words are wrong."


def main(words: Sequence[str]) -> int:
    """Run it; returns the exit status."""
    options = _parse(words)
    if options.output is not None and options.output.is_dir():
        raise ToolError(f"{options.output} is a directory: name a file in it", UNUSABLE)
    directories = find_existing(options.where, options.log_dir)
    state = read_state(directories)
    if state.recovered.snapshot_zxid is None and not state.recovered.transactions:
        # No server leaves that.  A backup of nothing should not look like one.
        raise ToolError(
            f"{directories.snapshots} holds neither snapshots nor logs: there is nothing to dump. If it is on a disk"
            " of its own: is that mounted?",
            UNUSABLE,
        )
    for note in state.notes:
        say("dump", note)
    zxid = _last_zxid(state)
    with _output(options.output) as out:
        writer: Writer = YamlWriter(out) if options.format == "yaml" else JsonWriter(out)
        write(state.recovered.tree, zxid, state.recovered.sessions, writer)
    say("dump", _summary(state, zxid))
    return DONE


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pyzkserver dump",
        description=_DESCRIPTION,
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("where", type=Path, metavar="DATADIR|zoo.cfg", help="what to read")
    parser.add_argument(
        "log_dir", nargs="?", type=Path, metavar="LOGDIR", help="the dataLogDir, where it is another"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="where to write (standard output, as is -); only its owner may read it",
    )
    parser.add_argument("--format", choices=("json", "yaml"), help="json, unless FILE ends in .yaml or .yml")
    options = parser.parse_args(words)
    if options.format is None and options.output is not None and options.output.suffix in (".yaml", ".yml"):
        options.format = "yaml"
    return options


def _last_zxid(state: State) -> int:
    """The last transaction, or the newest that left a trace."""
    tree = state.recovered.tree
    newest = max(max(node.czxid, node.mzxid, node.pzxid) for node in tree.nodes.values())
    if newest > tree.last_zxid:
        say(
            "dump",
            f"there are changes up to zxid {hex64(newest)}, but transactions only up to {hex64(tree.last_zxid)}: the"
            " log that belongs to the snapshot is missing. If there is a dataLogDir, name it, or the zoo.cfg",
        )
    return max(newest, tree.last_zxid)


def _summary(state: State, zxid: int) -> str:
    recovered = state.recovered
    nodes = counted(len(recovered.tree.nodes) - 1, "znode")  # the root stands there twice
    sessions = counted(len(recovered.sessions), "session")
    snapshot = (
        "no snapshot" if recovered.snapshot_zxid is None else f"snapshot {hex64(recovered.snapshot_zxid)}"
    )
    replayed = counted(recovered.transactions, "transaction")
    return f"{nodes} and {sessions}, as of zxid {hex64(zxid)} ({snapshot}, and {replayed} after it)"


@contextmanager
def _output(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is there only when it is whole.  UTF-8, whatever the locale is."""
    if path is None or str(path) == "-":
        sys.stdout.flush()
        out = TextIOWrapper(sys.stdout.buffer, "utf-8", newline="\n")
        try:
            yield out
        finally:
            out.flush()
            out.detach()
        return
    if path.exists() and not path.is_file():
        # /dev/stdout, a pipe, /dev/null: that is written to, and not replaced.
        with path.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        return
    path = Path(os.path.realpath(path))  # of a link, what it leads to
    aside = path.with_name(f"{path.name}.unfinished")
    # It shows all data, and the digests in ACLs.
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # it may take the place of an older dump
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
