"""The configuration of addresses and of ensembles: where a server listens, and which members there are."""

from pathlib import Path

import pytest
from configuring import ADDRESS, keyword_refusal, refusal

from pyzkserver.config import Config, load

# --- addresses --------------------------------------------------------------------------------------------


def test_a_file_without_an_address_listens_on_loopback_and_says_so(zoo_cfg):
    config = load(zoo_cfg("clientPort=2182"))
    assert (config.client_port_address, config.client_port) == ("127.0.0.1", 2182)
    (note,) = config.notes
    assert note.startswith("zoo.cfg: there is no clientPortAddress, so only 127.0.0.1 is listened on")
    assert load(zoo_cfg("clientPort=2182"), overrides={"client_port_address": "::"}).notes == ()


def test_a_file_without_a_port_serves_2181_and_says_so(zoo_cfg):
    config = load(zoo_cfg("tickTime=2000"))
    assert config.client_port == 2181
    assert config.notes[0].startswith("zoo.cfg: there is no clientPort, so clients are served on 2181")
    assert len(load(zoo_cfg("tickTime=2000"), overrides={"client_port": 0}).notes) == 1


def test_an_address_needs_a_port(zoo_cfg):
    path = zoo_cfg("tickTime=2000", "clientPortAddress=127.0.0.1")
    assert refusal(path) == "zoo.cfg:2: clientPortAddress: is set, but clientPort is not"
    assert load(path, overrides={"client_port": 0}).notes == ()
    path = zoo_cfg(*ADDRESS, "secureClientPortAddress=127.0.0.1")
    assert refusal(path) == "zoo.cfg:3: secureClientPortAddress: is set, but secureClientPort is not"


# --- servers ----------------------------------------------------------------------------------------------


def test_one_server_line_is_a_standalone_server(zoo_cfg):
    config = load(zoo_cfg(*ADDRESS, "server.7=localhost:2888:3888"))
    assert config.servers == ((7, "localhost:2888:3888"),)
    assert config.notes == ()
    lines = ("multiAddress.enabled=true", "server.7=[::1]:2888:3888:Participant|b.c:1:2", "group.3=7")
    config = load(zoo_cfg(*ADDRESS, *lines, "weight.2=1", "weight.1=5"))
    assert config.weights == ((1, "5"), (2, "1"))
    assert not config.is_distributed


@pytest.mark.parametrize(
    ("line", "address", "port", "notes"),
    [
        ("localhost:2888:3888;2182", "127.0.0.1", 2182, 1),
        ("localhost:2888:3888:participant;0.0.0.0:2182", "0.0.0.0", 2182, 0),
        ("[::1]:2888:3888;[::1]:2182", "::1", 2182, 0),
    ],
)
def test_the_server_line_may_say_where_clients_connect(line, address, port, notes, zoo_cfg):
    config = load(zoo_cfg(f"server.1={line}"))
    assert (config.client_port_address, config.client_port, len(config.notes)) == (address, port, notes)


def test_the_server_line_must_agree_with_client_port(zoo_cfg):
    message = refusal(zoo_cfg("clientPort=1", "server.1=a:2:3;4"))
    assert message == "zoo.cfg:1: clientPort=1: differs from the client port of zoo.cfg:2: server.1=a:2:3;4"


@pytest.mark.parametrize("text", ["", "a", "a:1", "a:1:2:leader", "a:b:c", "a:1:2;b", "a:1:2|", "a b:1:2"])
def test_a_malformed_server_line_is_refused(text, zoo_cfg):
    message = refusal(zoo_cfg(f"server.1={text}"))
    assert message.startswith(f"zoo.cfg:1: server.1={text}: must be host:port:port[:participant|observer]")


def test_a_server_needs_a_number(zoo_cfg):
    assert refusal(zoo_cfg("server.one=a:1:2")).startswith("zoo.cfg:1: server.one=a:1:2: must be")


# --- ensembles --------------------------------------------------------------------------------------------

LIMITS = ("initLimit=10", "syncLimit=5")
TRIO = ("server.1=a:1:2", "server.2=b:1:2", "server.3=c:1:2:observer", "server.4=d:1:2")


@pytest.fixture
def member(zoo_cfg):
    """Writes the zoo.cfg of member 2, with its myid, and gives its path."""

    def write(*lines, myid="2\n", settings=(*LIMITS, "clientPort=2181")):
        Path("data").mkdir(exist_ok=True)
        Path("data/myid").write_text(myid)
        return zoo_cfg("dataDir=data", *settings, *lines)

    return write


def test_several_server_lines_are_an_ensemble(member):
    """Who this member is stands in the file myid; who votes, in the lines."""
    config = load(member(*TRIO))
    assert config.is_distributed
    assert config.server_id == 2
    assert config.peer_type == "participant"
    assert config.membership.voting.keys() == {1, 2, 4}
    assert str(config.membership).splitlines()[2] == "server.3=c:1:2:observer"
    assert config.members_version == config.membership.version == 0


def test_a_standalone_server_looks_at_no_myid(member):
    """Session ids begin with 1 there, whatever the file says."""
    config = load(member("server.7=a:1:2", myid="7"))
    assert not config.is_distributed
    assert config.server_id == 1


def test_one_server_may_be_an_ensemble_of_one(member):
    """standaloneEnabled=false: it can grow by reconfiguration."""
    config = load(member("server.2=a:1:2", "standaloneEnabled=false"))
    assert config.is_distributed
    assert config.notes[-1].startswith("zoo.cfg:5: server.2 has 1 participants: with fewer than 3")


@pytest.mark.parametrize(
    ("lines", "settings", "myid", "message"),
    [
        (TRIO, ("syncLimit=5",), "2", "init_limit=0: a member of an ensemble needs initLimit"),
        (TRIO, ("initLimit=5",), "2", "sync_limit=0: a member of an ensemble needs syncLimit"),
        (TRIO, LIMITS, "9", "data/myid=9: is no member: there are server.N lines for 1, 2, 3, 4"),
        (TRIO, LIMITS, "two", "data/myid: 'two' is not a number"),
        (TRIO, LIMITS, "", "data/myid: '' is not a number"),
        (TRIO, LIMITS, "300", "data/myid=300: is no member"),
        ((*TRIO, "server.300=e:1:2"), LIMITS, "300", "data/myid=300: must be a whole number from 0 to 255"),
        ((*TRIO, "oraclePath=/o"), LIMITS, "2", "zoo.cfg:8: oraclePath=/o: an oracle between two members"),
        (("standaloneEnabled=false",), (), "2", "zoo.cfg:2: standaloneEnabled=false: without server.N lines"),
        (
            ("server.1=a:1:2:observer", "server.2=b:1:2:observer"),
            LIMITS,
            "2",
            "an observer alone has nothing",
        ),
        (("server.1=a:1:2:observer", "server.2=b:1:2"), LIMITS, "2", "observers need an ensemble"),
        (
            ("server.1=a:1:2", "server.2=b:1:1"),
            LIMITS,
            "2",
            "zoo.cfg:5: server.2=b:1:1: must have two different",
        ),
        (
            ("server.1=a:1:2", "server.2=b:1:2|c:1:2"),
            LIMITS,
            "2",
            "zoo.cfg:5: server.2=b:1:2|c:1:2: has several",
        ),
        ((*TRIO, "group.1=1:2"), LIMITS, "2", "zoo.cfg:7: server.4=d:1:2: is in no group"),
        (
            (*TRIO, "group.1=1:2:4", "group.2=4"),
            LIMITS,
            "2",
            "zoo.cfg:9: group.2=4: server 4 is in several groups",
        ),
    ],
)
def test_what_makes_no_ensemble_is_refused(lines, settings, myid, message, member):
    """As QuorumPeerConfig checks it, and QuorumPeer.start; with the line to mend."""
    assert message in refusal(member(*lines, myid=myid, settings=settings))


def test_the_number_of_a_member_must_be_somewhere(zoo_cfg):
    lines = (*LIMITS, *TRIO)
    assert refusal(zoo_cfg("dataDir=nowhere", *lines)).startswith(
        "zoo.cfg:1: dataDir=nowhere: nowhere/myid is missing: write this member's"
    )
    assert refusal(zoo_cfg(*lines)).startswith("dataDir is not set: a member of an ensemble needs one")
    assert load(zoo_cfg(*lines), overrides={"server_id": 4}).server_id == 4
    assert refusal(zoo_cfg(*lines), overrides={"server_id": 9}).startswith("server_id=9: is no member")


def test_an_ensemble_from_keywords():
    servers = ((1, "a:1:2"), (2, "b:1:2"), (3, "c:1:2"))
    limits = {"init_limit": 10, "sync_limit": 5}
    config = Config(servers=servers, server_id=3, **limits)
    assert config.is_distributed
    assert config.notes == ()
    assert keyword_refusal(servers=servers, server_id=3).startswith(
        "init_limit=0: a member of an ensemble needs"
    )
    assert ": is no member: there are server.1, server.2, server.3" in keyword_refusal(
        servers=servers, server_id=4, **limits
    )
    assert "server.1: is in no group" not in keyword_refusal(servers=((1, "a:1:1"),))
    assert keyword_refusal(servers=((1, "a:1:1"),)).endswith(": server.1=a:1:1: must have two different ports: the"
        " first for the leader, the second for elections")  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "role", "note"),
    [
        (
            ("peerType=observer",),
            "participant",
            "peerType is not what server.2 says, which counts: participant",
        ),
        (("peerType=participant",), "participant", None),
    ],
)
def test_the_server_line_says_who_votes(lines, role, note, member):
    """QuorumPeerConfig.setupPeerType; a participant by default is no contradiction."""
    config = load(member(*lines, *TRIO))
    assert config.peer_type == role
    assert [text for text in config.notes if "peerType" in text] == ([f"zoo.cfg:5: {note}"] if note else [])
    assert load(member(*TRIO, myid="3")).peer_type == "observer"


def test_an_even_number_of_participants_is_noted(member):
    notes = load(member(*TRIO, "server.5=e:1:2")).notes
    assert "has 4 participants: one less tolerates as many failures" in notes[0]


# where members serve clients


@pytest.mark.parametrize(
    ("settings", "line", "address"),
    [
        ((), "b:1:2;2182", ("0.0.0.0", 2182)),
        ((), "b:1:2;b:2182", ("b", 2182)),
        (("clientPort=2182",), "b:1:2;b:2182", ("b", 2182)),
        (("clientPort=2182", "clientPortAddress=0.0.0.0"), "b:1:2;b:2182", ("b", 2182)),
        (("clientPort=2182", "clientPortAddress=b"), "b:1:2;b:2182", ("b", 2182)),
        (("clientPort=2182",), "b:1:2", ("0.0.0.0", 2182)),
        (("clientPort=2182",), "127.0.0.1:1:2", ("127.0.0.1", 2182)),
        (("clientPort=2182", "clientPortAddress=x"), "b:1:2", ("x", 2182)),
    ],
)
def test_where_a_member_serves_its_clients(settings, line, address, member):
    """setupClientPort: its own line, or zoo.cfg; on all addresses, as Apache's, if others are to reach it."""
    config = load(
        member("server.1=a:1:2", f"server.2={line}", "server.3=c:1:2", settings=(*LIMITS, *settings))
    )
    assert (config.client_port_address, config.client_port) == address


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("clientPort=2183",), "zoo.cfg:4: clientPort=2183: differs from b:2182 in the line of server.2"),
        (("clientPort=2182", "clientPortAddress=c"), "zoo.cfg:5: clientPortAddress=c: differs from b:2182"),
    ],
)
def test_the_own_line_and_zoo_cfg_must_agree(settings, message, member):
    path = member("server.1=a:1:2", "server.2=b:1:2;b:2182", "server.3=c:1:2", settings=(*LIMITS, *settings))
    assert message in refusal(path)
    assert load(path, overrides={"client_port": 0}).client_port == 0


# the dynamic configuration


@pytest.mark.parametrize(
    ("name", "version"), [("zoo.cfg.dynamic", 0), ("z.1f", 0x1F), ("z.100000005", 0x100000005)]
)
def test_a_dynamic_file_says_who_the_members_are(name, version, member):
    """Its version is in its name (getVersionFromFilename)."""
    path = member(f"dynamicConfigFile={name}")
    Path(name).write_text("\n".join([*TRIO, "group.1=1:2:4"]))
    config = load(path)
    assert config.membership.voting.keys() == {1, 2, 4}
    assert config.groups == ((1, "1:2:4"),)
    assert config.members_version == config.membership.version == version
    assert config.next_members == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("version=5", "d:5: version: the version is at the end of the file's name"),
        ("clientPort=5", "d:5: clientPort: unknown key"),
        ("server.5=a:1:1", "d:5: server.5=a:1:1: must have two different ports"),
        ("server.x=a:1:2", "d:5: server.x=a:1:2: must be"),
    ],
)
def test_a_bad_line_in_it_is_refused_with_its_place(line, message, member):
    path = member("dynamicConfigFile=d")
    Path("d").write_text("\n".join([*TRIO, line]))
    assert message in refusal(path)


def test_members_stand_in_one_file_only(member):
    path = member("dynamicConfigFile=d", "server.9=a:1:2")
    assert refusal(path) == "zoo.cfg:6: server.9: belongs into d, the file that dynamicConfigFile names"
    assert refusal(member("dynamicConfigFile=d")) == "d: cannot be read: No such file or directory"


def test_what_was_proposed_last_is_read_as_well(member):
    """zoo.cfg.dynamic.next: its voters take part in elections until it is known what became of it."""
    path = member("dynamicConfigFile=d")
    Path("d").write_text("\n".join(TRIO))
    Path("zoo.cfg.dynamic.next").write_text("\n".join([*TRIO, "version=7"]))
    assert load(path).next_members.endswith("version=7")
    Path("zoo.cfg.dynamic.next").write_text("server.1=a")
    assert refusal(path).startswith("zoo.cfg.dynamic.next:1: server.1=a: must be host:port:port")


def test_a_lone_observer_is_refused(zoo_cfg):
    message = refusal(zoo_cfg(*ADDRESS, "server.1=a:1:2:observer"))
    assert message.startswith("zoo.cfg:3: server.1=a:1:2:observer: an observer alone has nothing to observe")
