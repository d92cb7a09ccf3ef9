"""``pyzkserver snapshot``: says what is in snapshots, as Apache's zkSnapShotToolkit does, and verifies them.

What it says of single nodes and of subtrees is put into words in ``snapnodes.py``.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyzkserver.state.digest import DIGEST_VERSION
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import snapfile
from pyzkserver.storage.damage import SnapshotDamaged
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.logfile import zxid_of
from pyzkserver.storage.snapcodec import CompressionMissing
from pyzkserver.storage.snapfile import Snapshot

from .command import DONE, OF_OUTPUT, UNUSABLE, WRONG, ToolError, json_line, say
from .forms import acl_text, counted, hex64, path_text, size_text
from .snapnodes import node_fields, node_line, sums, walk

__all__ = ["main"]

_DESCRIPTION = """\
Says what is in snapshots: a summary, or every node, or how many nodes and bytes there are where.  They may be
compressed with gzip or (with the extra pyzkserver[snappy]) snappy, as their names say.
"""
_STATUS = """\
Exit status: 0 all are sound; 1 one is damaged; 2 one cannot be read or is no snapshot, or the words are wrong.
cversion is what the snapshot holds: how many children were ever created, which is the next sequence number.
(Clients are shown another number: twice that, less the number of children.)
"""


def main(words: Sequence[str]) -> int:
    """Run it; returns the exit status."""
    options = _parse(words)
    status = DONE
    for path in options.files:
        try:
            found = _read(path)
            _show(found, options)
            status = max(status, WRONG if found.fault else DONE)
        except SnapshotDamaged as damage:
            status = max(status, WRONG)
            _tell_damage(path, damage, options)
        except ToolError as error:
            say("snapshot", str(error))
            status = max(status, error.status)
        except CompressionMissing as error:
            say("snapshot", f"{path}: {error}")
            status = UNUSABLE
        except OSError as error:
            if error.errno in OF_OUTPUT:
                raise
            say("snapshot", f"{path}: {error.strerror}")
            status = UNUSABLE
    return status


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pyzkserver snapshot",
        description=_DESCRIPTION,
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="such as version-2/snapshot.1.gz")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--verify", action="store_true", help="only say whether each is sound")
    what.add_argument("--nodes", action="store_true", help="every node, with its stat")
    what.add_argument(
        "--tree",
        type=_depth,
        metavar="DEPTH",
        help="nodes and bytes in each subtree, down to this depth (0: all); nodes without children are not listed",
    )
    parser.add_argument("--data", action="store_true", help="with --nodes: their data, too")
    parser.add_argument("--path", default="/", metavar="PATH", help="only this node and what is below it")
    parser.add_argument("--json", action="store_true", help="lines of JSON")
    options = parser.parse_args(words)
    if options.data and not options.nodes:
        parser.error("--data belongs to --nodes")
    return options


def _depth(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


@dataclass
class _Found:
    """A snapshot that can be read."""

    path: Path
    tree: DataTree
    snapshot: Snapshot
    zxid: int | None
    """Of its name."""
    digest: int
    fault: str = ""
    """Why it is not to be trusted all the same."""


def _read(path: Path) -> _Found:
    if path.is_dir():
        raise ToolError(
            f"{path} is a directory: name the snapshots in it, {path}/version-2/snapshot.*", UNUSABLE
        )
    with path.open("rb") as file:
        if file.read(4) == b"ZKLG":
            raise ToolError(f"{path} is a transaction log: see pyzkserver log", UNUSABLE)
    tree = DataTree(extended_types=True)
    try:
        snapshot = snapfile.read(RealDisk().read(path), tree, path.name)
    except SnapshotDamaged as damage:
        if damage.offset == 0 and "is no" in damage.reason:
            raise ToolError(f"{path}: {damage.reason}", UNUSABLE) from None
        raise
    found = _Found(path, tree, snapshot, zxid_of(path.name), tree.digest.value())
    wanted = snapshot.digest
    comparable = (
        wanted is not None and wanted.version == DIGEST_VERSION and _is_of_one_moment(found, wanted.zxid)
    )
    if comparable and wanted is not None and wanted.value != found.digest:
        found.fault = f"its digest is {hex64(wanted.value)}, but that of its nodes {hex64(found.digest)}"
    return found


def _is_of_one_moment(found: _Found, digest_zxid: int) -> bool:
    """Of a fuzzy one the digest is that of a later moment.

    Or of an earlier one: Apache's server goes on in another thread, so nodes may show a transaction more.
    """
    if found.zxid is None or not found.zxid == digest_zxid != 0:
        return False
    nodes = found.tree.nodes.values()
    return all(max(node.czxid, node.mzxid, node.pzxid) <= found.zxid for node in nodes)


def _tell_damage(path: Path, damage: SnapshotDamaged, options: argparse.Namespace) -> None:
    if options.verify and options.json:
        told = {"file": str(path), "state": "damaged", "offset": damage.offset, "reason": damage.reason}
        print(json_line(told))
    elif options.verify:
        print(f"{path}: damaged at byte {damage.offset}: {damage.reason}")
    else:
        say("snapshot", f"{path} is damaged at byte {damage.offset}: {damage.reason}")


def _show(found: _Found, options: argparse.Namespace) -> None:
    top = options.path if options.path == "/" else options.path.rstrip("/")
    if top not in found.tree.nodes:
        raise ToolError(f"{found.path}: there is no node {top}")
    if options.nodes:
        for path, node in walk(found.tree, top):
            if options.json:
                print(json_line({"file": str(found.path), **node_fields(path, node, options.data)}))
            else:
                print(node_line(path, node, options.data))
    elif options.tree is not None:
        for path, depth, nodes, size in sums(found.tree, top, options.tree):
            if options.json:
                told = {"file": str(found.path), "path": path, "depth": depth, "nodes": nodes, "bytes": size}
                print(json_line(told))
            else:
                print(f"{'  ' * depth}{path_text(path)}: {counted(nodes, 'node')}, {size_text(size)} of data")
    elif options.verify:
        _show_verdict(found, options)
    elif options.json:
        print(json_line(_summary_fields(found)))
    else:
        print(_summary(found))
    if found.fault and not options.verify:
        say("snapshot", f"{found.path} is damaged: {found.fault}")


def _show_verdict(found: _Found, options: argparse.Namespace) -> None:
    state = "damaged" if found.fault else "sound"
    if options.json:
        told = {"file": str(found.path), "state": state, "nodes": len(found.tree.nodes) - 1}
        print(json_line({**told, "reason": found.fault} if found.fault else told))
    else:
        print(f"{found.path}: {state}: {found.fault or counted(len(found.tree.nodes) - 1, 'znode')}")


def _summary_fields(found: _Found) -> dict[str, Any]:
    tree, snapshot, digest = found.tree, found.snapshot, found.snapshot.digest
    told: dict[str, Any] = {"file": str(found.path), "bytes": found.path.stat().st_size}
    told["zxid"] = None if found.zxid is None else hex64(found.zxid)
    if snapshot.last_zxid is not None:
        told["lastProcessedZxid"] = hex64(snapshot.last_zxid)
    if digest is not None:
        told["digest"] = {
            "zxid": hex64(digest.zxid),
            "version": digest.version,
            "value": hex64(digest.value),
        }
    told.update(
        digestOfNodes=hex64(found.digest),
        nodes=len(tree.nodes) - 1,
        dataBytes=sum(len(node.data or b"") for path, node in tree.nodes.items() if path),
        ephemerals=tree.ephemeral_count(),
        containers=len(tree.containers),
        ttlNodes=len(tree.ttl_nodes),
        acls=len(
            {acl_text(acl) for acl in {id(node.acl): node.acl for node in tree.nodes.values()}.values()}
        ),
        sessions={hex64(id_): timeout for id_, timeout in sorted(snapshot.sessions.items())},
    )
    return told


def _summary(found: _Found) -> str:
    told = _summary_fields(found)
    lines = [str(found.path)]
    lines.append(f"  zxid        {told['zxid'] or 'not in its name'}{_until(found)}")
    if "digest" in told:
        compared = {
            True: "as that of its nodes",
            False: "which its nodes have when the log is replayed to there",
        }
        fits = found.snapshot.digest is not None and found.snapshot.digest.value == found.digest
        lines.append(
            f"  digest      {told['digest']['value']} at zxid {told['digest']['zxid']}, {compared[fits]}"
        )
    else:
        lines.append("  digest      not in it")
    kinds = f"{told['ephemerals']} ephemeral, {told['containers']} containers, {told['ttlNodes']} with a ttl"
    lines.append(f"  znodes      {told['nodes']} ({kinds})")
    lines.append(f"  data        {size_text(told['dataBytes'])}, in a file of {size_text(told['bytes'])}")
    lines.append(f"  ACLs        {told['acls']}")
    lines.append(f"  sessions    {len(told['sessions'])}")
    for id_, timeout in told["sessions"].items():
        count = len(found.tree.ephemerals.get(_signed(id_), ()))
        lines.append(f"    {id_}  timeout {timeout} ms, {counted(count, 'ephemeral node')}")
    if found.snapshot.unknown_acls:
        lines.append(f"  {len(found.snapshot.unknown_acls)} nodes get their ACL only from the log")
    return "\n".join(lines)


def _until(found: _Found) -> str:
    last = found.snapshot.last_zxid
    return "" if last in (None, found.zxid) else f" (taken while the server went on to {hex64(last or 0)})"


def _signed(id_: str) -> int:
    value = int(id_, 16)
    return value - (1 << 64) if value >> 63 else value
