"""pyzkserver log: every transaction in words, whatever is wrong with the file; and what repair does to it."""

import json
from pathlib import Path

import pytest
from storage.histories import History

from pyzkserver.state.transaction import Transaction
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.logfile import encode_transaction, file_header, frame_entry, read_entries
from pyzkserver.tools import directories
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateSessionTxn, ErrorTxn

from .helpers import Tool, entry_offsets, fingerprint, log_bytes


@pytest.fixture
def log(tmp_path: Path, history: History) -> Path:
    """A log of two hundred transactions, and what a server allocates ahead."""
    path = tmp_path / "version-2" / f"log.{history.txns[0].zxid:x}"
    path.parent.mkdir()
    path.write_bytes(log_bytes(history.txns) + bytes(5000))
    return path


def alter(path: Path, at: int) -> None:
    """One bit of one byte is another."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def zxids(out: str) -> list[int]:
    return [int(json.loads(line)["zxid"], 16) for line in out.splitlines()]


# --- printing -----------------------------------------------------------------------------------------------


def test_every_transaction(tool: Tool, log: Path, history: History) -> None:
    """A line each, in both forms; nothing on stderr, status 0."""
    people, programs = tool("log", log), tool("log", "--json", log)
    assert (people.status, people.err) == (programs.status, programs.err) == (0, "")
    assert zxids(programs.out) == [txn.zxid for txn in history.txns]
    assert [line.split(" zxid ")[1].split()[0] for line in people.out.splitlines()] == [
        hex(txn.zxid) for txn in history.txns
    ]


SAMPLES = [
    (
        '{"op": "create", "path": "/a", "data": {"base64": "/w=="}, "acl": ["digest:u:h:r"], "ephemeral": true,'
        ' "parentCVersion": 3}',
        "create /a 1 byte ff acl digest:u:h:r ephemeral parentCVersion 3",
    ),
    ('{"op": "createTTL", "path": "/a", "data": "x", "ttl": 60000}', "createTTL /a 1 byte 'x' ttl 60000 ms"),
    ('{"op": "createContainer", "path": "/a", "data": null}', "createContainer /a null parentCVersion"),
    ('{"op": "delete", "path": "/a"}', "delete /a digest 0x"),
    ('{"op": "setData", "path": "/a", "data": "", "version": 4}', "setData /a empty version 4 digest"),
    ('{"op": "setACL", "path": "/a", "acl": [], "version": 4}', "setACL /a acl none version 4 digest"),
    ('{"op": "createSession", "timeout": 4000}', "createSession timeout 4000 ms digest"),
    ('{"op": "closeSession", "paths": ["/a", "/b c"]}', "closeSession deletes /a '/b c' digest"),
    ('{"op": "error", "err": -101, "error": "NO_NODE"}', "error NO_NODE digest"),
    ('{"op": "error", "err": -999, "error": "-999"}', "error -999 digest"),
    (
        '{"op": "multi", "ops": [{"op": "check", "path": "/a", "version": 2}, {"op": "delete", "path": "/a"}]}',
        "multi [check /a if version 2; delete /a] digest",
    ),
]


@pytest.mark.parametrize(("fields", "words"), SAMPLES)
def test_how_they_look(fields: str, words: str, tool: Tool, tmp_path: Path) -> None:
    """Each kind of transaction, with everything it says."""
    txn = Transaction(-1, 7, 0x2A, 1_714_564_800_123, *_body(json.loads(fields)))
    path = tmp_path / "log.2a"
    path.write_bytes(file_header() + frame_entry(encode_transaction(txn, 0xABC)))
    told = json.loads(tool("log", "--json", path).out)
    for name, value in json.loads(fields).items():
        assert told[name] == value
    assert told["file"] == str(path)
    assert told["offset"] == 16
    assert (told["time"], told["session"]) == ("2024-05-01T12:00:00.123Z", "0xffffffffffffffff")
    assert (told["cxid"], told["zxid"], told["digest"]) == (7, "0x2a", {"version": 2, "value": "0xabc"})
    line = tool("log", path).out
    assert line.startswith("2024-05-01T12:00:00.123Z session 0xffffffffffffffff cxid 0x7 zxid 0x2a ")
    assert words in line
    assert line.endswith(" digest 0xabc\n")


def _body(form: dict[str, object]) -> tuple[int, object]:
    from pyzkserver.state.transaction import MultiBody
    from pyzkserver.tools.forms import read_acl, read_data
    from pyzkserver.wire import txns

    data, acl = read_data(form.get("data")), read_acl(form.get("acl", ["world:anyone:cdrwa"]))
    path, version = form.get("path"), form.get("version")
    parts = form.get("ops", [])
    assert isinstance(parts, list)
    bodies: dict[object, tuple[int, object]] = {
        "create": (OpCode.CREATE, txns.CreateTxn(path, data, acl, True, 3)),
        "createTTL": (OpCode.CREATE_TTL, txns.CreateTTLTxn(path, data, acl, 3, form.get("ttl"))),
        "createContainer": (OpCode.CREATE_CONTAINER, txns.CreateContainerTxn(path, data, acl, 3)),
        "delete": (OpCode.DELETE, txns.DeleteTxn(path)),
        "setData": (OpCode.SET_DATA, txns.SetDataTxn(path, data, version)),
        "setACL": (OpCode.SET_ACL, txns.SetACLTxn(path, acl, version)),
        "check": (OpCode.CHECK, txns.CheckVersionTxn(path, version)),
        "createSession": (OpCode.CREATE_SESSION, CreateSessionTxn(form.get("timeout"))),
        "closeSession": (OpCode.CLOSE_SESSION, txns.CloseSessionTxn(form.get("paths"))),
        "error": (OpCode.ERROR, ErrorTxn(form.get("err"))),
        "multi": (OpCode.MULTI, MultiBody([_body(part) for part in parts])),
    }
    return bodies[form["op"]]


def test_long_data(tool: Tool, tmp_path: Path) -> None:
    """It is cut for people unless they ask for it; never for programs."""
    op, body = _body({"op": "setData", "path": "/a", "data": "x" * 500, "version": 1})
    path = tmp_path / "log.1"
    path.write_bytes(file_header() + frame_entry(encode_transaction(Transaction(1, 1, 1, 1, op, body), None)))
    assert "500 bytes 'xxx" in tool("log", path).out
    assert "x" * 61 not in tool("log", path).out
    assert "x" * 500 in tool("log", "--data", path).out
    assert "x" * 500 in tool("log", "--json", path).out


def test_only_some(tool: Tool, log: Path, history: History) -> None:
    """By session, zxid, kind, and node: with what is below it, inside multis and among what a session leaves."""
    everything = [json.loads(line) for line in tool("log", "--json", log).out.splitlines()]
    session = next(hex(txn.session_id & (1 << 64) - 1) for txn in history.txns if txn.session_id)
    found = zxids(tool("log", "--json", "--session", session, log).out)
    assert found == [int(each["zxid"], 16) for each in everything if each["session"] == session] != []
    first, last = history.txns[10].zxid, history.txns[20].zxid
    found = zxids(tool("log", "--json", "--from", hex(first), "--to", str(last), log).out)
    assert found == list(range(first, last + 1))
    found = zxids(tool("log", "--json", "--op", "SETDATA", log).out)
    assert found == [int(each["zxid"], 16) for each in everything if each["op"] == "setData"] != []
    misspelt = tool("log", "--op", "set", log)
    assert (misspelt.status, misspelt.out) == (2, "")
    assert "no transaction is called 'set'; there are create, create2," in misspelt.err

    def about(each: dict[str, object]) -> list[object]:
        ops = each.get("ops", [])
        assert isinstance(ops, list)
        paths = each.get("paths", [])
        assert isinstance(paths, list)
        return [part.get("path") for part in [each, *ops]] + paths

    for path in ("/b", "/中/é/", "/"):
        wanted = [
            int(each["zxid"], 16)
            for each in everything
            if any(
                name == path.rstrip("/") or str(name).startswith(path.rstrip("/") + "/")
                for name in about(each)
            )
        ]
        assert zxids(tool("log", "--json", "--path", path, log).out) == wanted != []


# --- verifying ----------------------------------------------------------------------------------------------


def test_verify(tool: Tool, log: Path, history: History, tmp_path: Path) -> None:
    """One line for each file, and the worst of them is the status."""
    outcome = tool("log", "--verify", log)
    first, last = hex(history.txns[0].zxid), hex(history.zxid)
    assert outcome == (0, f"{log}: sound: 200 transactions, zxid {first} to {last}\n", "")
    torn, damaged = tmp_path / "torn", tmp_path / "damaged"
    torn.write_bytes(log_bytes(history.txns)[:-1])
    damaged.write_bytes(log.read_bytes())
    offsets = entry_offsets(history.txns)
    alter(damaged, offsets[5] + 30)
    alter(damaged, offsets[9] + 8)
    outcome = tool("log", "--verify", "--json", torn, log, damaged)
    verdicts = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.status == 1
    assert [verdict["state"] for verdict in verdicts] == ["torn", "sound", "damaged"]
    assert [verdict["transactions"] for verdict in verdicts[:2]] == [199, 200]
    assert [verdict.get("offset") for verdict in verdicts] == [offsets[-2], None, offsets[5]]
    assert tool("log", "--verify", torn, tmp_path / "none").status == 2
    outcome = tool("log", "--verify", torn)
    assert f"{torn}: ends in the middle of a write, at byte {offsets[-2]}: " in outcome.out


def test_a_wrong_checksum_is_passed(tool: Tool, log: Path, history: History) -> None:
    """Of an altered entry that is otherwise whole people want to know what it says now, and what follows."""
    offsets = entry_offsets(history.txns)
    for number in (50, 51, 199):
        alter(log, offsets[number])  # of the checksum itself
    outcome = tool("log", "--json", log)
    assert outcome.status == 1
    assert zxids(outcome.out) == [txn.zxid for txn in history.txns]
    damaged = [json.loads(line) for line in outcome.out.splitlines() if "damaged" in line]
    assert [each["offset"] for each in damaged] == [offsets[50], offsets[51], offsets[199]]
    assert outcome.err.count("its checksum is 0x1") == 3
    assert tool("log", log).out.count("DAMAGED ") == 3


def test_past_damage(tool: Tool, log: Path, history: History) -> None:
    """It stops where nothing can be understood; whoever wants what is behind it, gets it, with true offsets."""
    offsets = entry_offsets(history.txns)
    for number in (50, 100):
        alter(log, offsets[number + 1] - 1)  # the end mark
    outcome = tool("log", "--json", log)
    assert outcome.status == 1
    assert zxids(outcome.out) == [txn.zxid for txn in history.txns[:50]]
    assert f"{log} is damaged at byte {offsets[50]}: " in outcome.err
    assert f"whole entries go on at byte {offsets[51]}" in outcome.err
    outcome = tool("log", "--json", "--past-damage", log)
    assert outcome.status == 1
    told = [json.loads(line)["offset"] for line in outcome.out.splitlines()]
    assert told == [each for number, each in enumerate(offsets[:-1]) if number not in (50, 100)]
    assert f"damaged at byte {offsets[100]}: " in outcome.err
    assert f"whole entries go on at byte {offsets[101]}" in outcome.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"ZKSN\0\0\0\2", "is a snapshot: see pyzkserver snapshot"),
        (b"hello", "is no transaction log (it begins with b'hell"),
        (b"ZKLG\0\0\0\3", "is a log of version 3, and not 2"),
        (None, "is a directory: name the logs in it"),
    ],
)
def test_what_is_no_log(content: bytes | None, told: str, tool: Tool, tmp_path: Path) -> None:
    """Status 2: a damaged log is something else."""
    path = tmp_path / "log.1"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    for words in ([], ["--verify"], ["--repair", "--yes"]):
        outcome = tool("log", *words, path)
        assert outcome.status == 2
        assert f"{path} {told}" in outcome.err
    assert tool("log", tmp_path / "none") == (
        2,
        "",
        f"pyzkserver log: {tmp_path}/none: No such file or directory\n",
    )


def test_what_a_server_goes_on_writing(tmp_path: Path, history: History) -> None:
    """A log that grows while it is read is read as it was: otherwise there might be zeros in its middle."""
    path = tmp_path / "log.1"
    content = log_bytes(history.txns)
    path.write_bytes(content + bytes(3 << 20))
    chunks = directories.read_log_bytes(path)
    first = next(chunks)
    with path.open("r+b") as file:
        file.seek(len(content))
        file.write(log_bytes(history.txns)[16:] * 100)
    assert first + b"".join(chunks) == content
    assert path.stat().st_size == len(content) + (3 << 20)


# --- repair -------------------------------------------------------------------------------------------------


def test_a_sound_log_is_left_alone(tool: Tool, log: Path) -> None:
    """Nothing to repair, nothing to keep."""
    before = fingerprint(log.parent)
    outcome = tool("log", "--repair", "--cut-at-damage", "--fix-checksums", "--yes", log)
    assert (outcome.status, outcome.out) == (0, f"{log}: sound: there is nothing to repair\n")
    assert fingerprint(log.parent) == before


def test_a_torn_tail_is_cut(tool: Tool, log: Path, history: History) -> None:
    """To where the last whole entry ends; the file as it was is kept, under no name of a log's."""
    content = log_bytes(history.txns)[:-1]
    log.write_bytes(content)
    outcome = tool("log", "--repair", log, answer="y\n")
    assert outcome.status == 0, outcome
    kept = log.with_name(f"bak.{log.name}")
    at = entry_offsets(history.txns)[-2]
    assert outcome.out == (
        f"{log}: cut at byte {at}, behind zxid {hex(history.zxid - 1)}; as it was, it is now called {kept}\n"
    )
    assert "shall it be cut" in outcome.err
    assert kept.read_bytes() == content
    assert log.read_bytes() == content[:at]
    assert sorted(path.name for path in log.parent.iterdir()) == [kept.name, log.name]
    assert tool("log", "--verify", log).status == 0


@pytest.mark.parametrize("answer", ["", "n\n", "\n", "what?\n"])
def test_without_a_yes_nothing_happens(answer: str, tool: Tool, log: Path, history: History) -> None:
    """Nor without anybody to answer."""
    log.write_bytes(log_bytes(history.txns)[:-1])
    before = fingerprint(log.parent)
    outcome = tool("log", "--repair", log, answer=answer)
    assert outcome.status == 1
    assert "is left as it was" in outcome.err
    assert fingerprint(log.parent) == before


def test_damage_is_not_cut_just_so(tool: Tool, log: Path, history: History) -> None:
    """What was acknowledged stands behind it: how much, and what can be done, is said."""
    offsets = entry_offsets(history.txns)
    alter(log, offsets[51] - 1)
    before = fingerprint(log.parent)
    outcome = tool("log", "--repair", "--yes", log)
    assert outcome.status == 1
    assert f"damaged at byte {offsets[50]}" in outcome.err
    assert (
        f"--cut-at-damage (149 whole ones, zxid {hex(history.txns[51].zxid)} to {hex(history.zxid)}"
        in outcome.err
    )
    assert "--fix-checksums" not in outcome.err
    assert fingerprint(log.parent) == before
    outcome = tool("log", "--repair", "--cut-at-damage", "--yes", log)
    assert outcome.status == 0
    assert log.read_bytes() == log_bytes(history.txns[:50])
    assert "what will be lost: 149 whole ones" in outcome.err


def test_checksums_are_only_fixed_when_asked(tool: Tool, log: Path, history: History) -> None:
    """It makes the server believe what was altered: so it is shown, and never done along with something else."""
    offsets = entry_offsets(history.txns)
    for number in (50, 120):
        alter(log, offsets[number] + 36)  # in the header of the transaction: its time
    content = log.read_bytes()
    outcome = tool("log", "--repair", "--yes", log)
    assert outcome.status == 1
    assert "add --fix-checksums" in outcome.err
    assert log.read_bytes() == content
    outcome = tool("log", "--repair", "--fix-checksums", "--json", "--yes", log)
    assert outcome.status == 0
    told = json.loads(outcome.out)
    assert (told["repaired"], told["done"]) == (True, "2 checksums written anew")
    assert outcome.err.count("; it reads: ") == 2
    repaired = log.read_bytes()
    assert len(list(read_entries([repaired]))) == 200
    different = [at for at, byte in enumerate(repaired) if byte != content[at]]
    assert {at - offsets[50] for at in different} & set(range(8))
    assert all(at - offsets[50] in range(8) or at - offsets[120] in range(8) for at in different)


def test_both_at_once(tool: Tool, log: Path, history: History) -> None:
    """A wrong checksum, and a torn tail behind it."""
    log.write_bytes(log_bytes(history.txns)[:-1])
    alter(log, entry_offsets(history.txns)[50])
    outcome = tool("log", "--repair", "--fix-checksums", "--yes", log)
    assert outcome.status == 0
    assert "1 checksum written anew and cut at byte" in outcome.out
    assert log.read_bytes() == log_bytes(history.txns[:-1])


def test_later_logs_are_told_of(tool: Tool, log: Path, history: History) -> None:
    """A cut that leaves a gap keeps a server from starting: that is known before it is agreed to."""
    alter(log, entry_offsets(history.txns)[51] - 1)
    later = log.with_name(f"log.{history.zxid + 1:x}")
    later.write_bytes(file_header())
    outcome = tool("log", "--repair", "--cut-at-damage", log, answer="n")
    assert f"{later.name} goes on behind the gap" in outcome.err


def test_a_log_without_a_transaction(tool: Tool, log: Path) -> None:
    """What a crash left of a log that was just begun is set aside, as a server removes it."""
    log.write_bytes(b"ZKLG")
    outcome = tool("log", "--repair", "--yes", log)
    assert outcome.status == 0
    assert [path.name for path in log.parent.iterdir()] == [f"bak.{log.name}"]


def test_an_earlier_backup_stays(tool: Tool, log: Path, history: History) -> None:
    """The first one may be the only true one."""
    log.write_bytes(log_bytes(history.txns)[:-1])
    log.with_name(f"bak.{log.name}").write_bytes(b"precious")
    before = fingerprint(log.parent)
    outcome = tool("log", "--repair", "--yes", log)
    assert outcome.status == 2
    assert "from an earlier repair" in outcome.err
    assert fingerprint(log.parent) == before


def test_the_log_of_a_running_server(tool: Tool, log: Path, history: History) -> None:
    """Its tail is torn only because it is just being written."""
    log.write_bytes(log_bytes(history.txns)[:-1])
    before = log.read_bytes()
    unlock = RealDisk().lock(log.parent.parent / "pyzkserver.lock")
    assert unlock is not None
    outcome = tool("log", "--repair", "--yes", log)
    assert outcome.status == 1
    assert f"{log} belongs to a running server" in outcome.err
    assert log.read_bytes() == before
    assert tool("log", "--verify", log).status == 1
    unlock()
    assert tool("log", "--repair", "--yes", log).status == 0


@pytest.mark.parametrize(
    "words", [["--yes"], ["--cut-at-damage"], ["--from", "x"], ["--session", "abc"], ["--repair"], []]
)
def test_words_that_cannot_be_used(words: list[str], tool: Tool, tmp_path: Path) -> None:
    """Status 2, and how it is meant."""
    path = [tmp_path / "log.1"] if words and words != ["--repair"] else []
    outcome = tool("log", *words, *path)
    assert outcome.status == 2
    assert "usage: pyzkserver log" in outcome.err
