"""Members and quorums: the text of a configuration both ways, and who may decide."""

import re
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.errors import ConfigError
from pyzkserver.quorum.members import Address, Member, Members, Tracker

THREE = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:participant\nversion=0"


def member(sid, *, observer=False, host="h"):
    return Member(sid, (Address(host, 1000 + sid),), (Address(host, 2000 + sid),), observer=observer)


def subsets(ids):
    return chain.from_iterable(combinations(ids, size) for size in range(len(ids) + 1))


# --- the text ---------------------------------------------------------------------------------------------

# What Apache's QuorumMaj and QuorumHierarchical of 3.8.0 print for these lines.
PRINTED = [
    (
        "server.3=localhost:2888:3888\nserver.1=127.1:2888:3888;2181\n"
        "server.20=[::1]:2888:3888:observer;[fe80::1]:2181\nversion=1f\n"
        "server.2=b:1:2|a:3:4|[2001:db8::5]:5:6:PARTICIPANT;localhost:4",
        "server.1=127.0.0.1:2888:3888:participant;0.0.0.0:2181\n"
        "server.2=[2001:db8:0:0:0:0:0:5]:5:6|a:3:4|b:1:2:participant;localhost:4\n"
        "server.3=localhost:2888:3888:participant\n"
        "server.20=[0:0:0:0:0:0:0:1]:2888:3888:observer;[fe80:0:0:0:0:0:0:1]:2181\nversion=1f",
    ),
    (
        "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\ngroup.1=1:2\ngroup.2=3\nweight.3=0",
        "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:observer\n"
        "group.1=1:2\ngroup.2=3\nweight.1=1\nweight.2=1\nweight.3=0\nversion=0",
    ),
    ("server.1=a:1:2;", "server.1=a:1:2:participant\nversion=0"),
    ("server.1=a:1:2::", "server.1=a:1:2:participant\nversion=0"),
    ("server.1=a:1:2|", "server.1=a:1:2:participant\nversion=0"),
    ("server.1=a:+1:2", "server.1=a:1:2:participant\nversion=0"),
    ("server.1=[::ffff:1.2.3.4]:1:2", "server.1=1.2.3.4:1:2:participant\nversion=0"),
    ("server.1=a:1:2|b:1:2:observer", "server.1=a:1:2|b:1:2:observer\nversion=0"),
    ("server.1=a:1:2|a:3:4", "server.1=a:1:2|a:3:4:participant\nversion=0"),
]


@pytest.mark.parametrize(("text", "printed"), PRINTED)
def test_is_printed_as_apache_prints_it(text, printed):
    """The text goes over the wire and into a node's digest, so every byte counts."""
    members = Members.parse(text)
    assert str(members) == printed
    assert Members.parse(printed) == members


def test_members_stand_in_the_order_of_javas_hash_map():
    """Ids share a bucket modulo the table's size, which grows with their number."""
    ids = [1, 2, 3, 50, 100, 255]
    text = "\n".join(f"server.{sid}=a:1:2" for sid in ids)
    printed = re.findall(r"server\.(\d+)", str(Members.parse(text)))
    assert printed == ["1", "2", "50", "3", "100", "255"]
    thirteen = Members.of(*(member(sid) for sid in [16, 17, *range(1, 12)]))
    assert re.findall(r"server\.(\d+)", str(thirteen)) == [str(sid) for sid in [*range(1, 12), 16, 17]]
    twelve = Members.of(*(member(sid) for sid in [16, *range(1, 12)]))
    assert re.findall(r"server\.(\d+)", str(twelve)) == [str(sid) for sid in [16, *range(1, 12)]]


def test_a_client_address_from_zoo_cfg_is_not_printed():
    """``QuorumServer.isClientAddrFromStatic``: the others do not know it, and the text stays the same for all."""
    members = Members.parse(THREE)
    known = members.with_client_address(2, Address("0.0.0.0", 2181))
    assert known[2].client_address == ("0.0.0.0", 2181)
    assert str(known) == THREE
    own = Members.parse("server.1=a:1:2;5")
    assert own.with_client_address(1, Address("x", 1)) == own.with_client_address(7, Address("x", 1)) == own


REFUSED = [
    ("server.1=a:1:1", "conf:1: server.1=a:1:1: must have two different ports"),
    ("\nserver.1=a:1", "conf:2: server.1=a:1: must be host:port:port"),
    ("server.1=a:1:2:3:4", "must be host:port:port"),
    ("server.1=a:1:2;b:1:3", "must be host:port:port"),  # not "[host:]port"
    ("server.1=a:1:2;3;4", "must be host:port:port"),
    ("server.1=:1:2", "'' is no host name"),
    ("server.1=a:x:2", "'x' is no port number"),
    ("server.1=a:1:70000", "70000 is no port number: they go from 0 to 65535"),
    ("server.1=a:1:2;70000", "70000 is no port number"),
    ("server.1=a:1:2:leader", "'leader' is no role"),
    ("server.1=a:1:2:observer|b:1:2:participant", "must have the same role"),
    ("server.1=a:1:2|a:1:3", "names an address twice"),
    ("server.1=[::g]:1:2", "is no host name"),
    ("server.1=[1:2]:1:2", "'1:2' is no IPv6 address"),
    ("server.1=[::1:1:2", "must be host:port:port"),
    ("server.x=a:1:2", "'x' is not a server's number"),
    ("server.-1=a:1:2", "'-1' is not a server's number"),
    ("server.1=a:1:2\nweight.1=3", "conf:1: server.1=a:1:2: is in no group"),
    ("server.1=a:1:2\ngroup.1=1:5", "conf:2: group.1=1:5: server 5 neither votes nor has a weight"),
    ("server.1=a:1:2\ngroup.1=1\ngroup.2=1", "conf:3: group.2=1: server 1 is in several groups"),
    ("group.1=a", "'a' is not a server's number"),
    ("group.x=1", "'x' is not a group's number"),
    ("weight.1=-1", "'-1' is not a weight"),
    ("version=-1", "a version is a hexadecimal number"),
    ("version=8000000000000000", "a version is a hexadecimal number"),
    ("version=xyz", "a version is a hexadecimal number"),
    ("clientPort=2181", "does not belong into a dynamic configuration"),
    ("servers=a:1:2", "does not belong into a dynamic configuration"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_a_bad_line_is_refused_with_its_place(text, reason):
    """Whoever wrote it learns which line is wrong, and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        Members.parse(text, "conf")
    assert reason in str(caught.value)
    assert str(caught.value).startswith("conf:")


def test_several_addresses_need_to_be_allowed():
    """As ``multiAddress.enabled`` in Apache: during an upgrade older members would not understand them."""
    with pytest.raises(ConfigError, match=r"multiAddress\.enabled=true"):
        Members.parse("server.1=a:1:2|b:1:2", multi_address=False)


HOSTS = st.sampled_from(["a", "b.c", "10.0.0.1", "fe80:0:0:0:0:0:0:1"])
ADDRESSES = st.builds(Address, HOSTS, st.integers(0, 65535))


@st.composite
def any_members(draw):
    """Majority or hierarchical, with what may be printed."""
    ids = draw(st.lists(st.integers(0, 300), min_size=1, max_size=15, unique=True))
    members = []
    for sid in ids:
        hosts = draw(st.lists(HOSTS, min_size=1, max_size=3, unique=True))
        quorum = tuple(sorted(Address(host, draw(st.integers(0, 999))) for host in hosts))
        election = tuple(Address(host, port + 1000) for host, port in quorum)
        client = draw(st.none() | ADDRESSES)
        members.append(Member(sid, quorum, election, client, draw(st.booleans())))
    plain = Members.of(*members, version=draw(st.integers(0, 2**63 - 1)))
    if draw(st.booleans()):
        return plain
    groups: dict[int, list[str]] = {}
    for sid in plain.voting:
        groups.setdefault(draw(st.integers(1, 4)), []).append(str(sid))
    lines = [f"group.{gid}={':'.join(sids)}" for gid, sids in groups.items()]
    lines += [f"weight.{sid}={draw(st.integers(0, 4))}" for sid in draw(st.sets(st.sampled_from(ids)))]
    return Members.parse("\n".join([str(plain), *lines]))


@given(any_members())
def test_what_was_printed_reads_the_same(members):
    """Text and members are one thing in two forms."""
    assert Members.parse(str(members)) == members
    assert str(Members.parse(str(members))) == str(members)


# --- quorums ----------------------------------------------------------------------------------------------


@given(any_members(), st.sets(st.integers(0, 300)))
def test_quorums_agree_with_a_slow_oracle(members, ids):
    """The rules in words: more than half of the voters; or in most groups of weight, more than half of it."""
    ids |= set(list(members.all)[::2])
    if not members.hierarchical:
        expected = len([sid for sid in ids if sid in members.voting]) > len(members.voting) / 2
    else:
        group_of, weights = members.membership.group_of, members.membership.weights
        won = total = 0
        for group in set(group_of.values()):
            whole = sum(weights[sid] for sid in group_of if group_of[sid] == group)
            here = sum(weights[sid] for sid in ids if group_of.get(sid) == group)
            total += whole > 0
            won += here > whole / 2
        expected = won > total / 2
    assert members.contains_quorum(ids) is expected


@given(any_members())
def test_two_quorums_always_meet(members):
    """What makes a quorum one: no two of them decide without a member in common."""
    ids = sorted(members.voting)[:9]
    quorums = [set(subset) for subset in subsets(ids) if members.contains_quorum(subset)]
    assert all(one & other for one in quorums for other in quorums)


def test_nine_in_three_groups():
    """HierarchicalQuorumTest: two groups of three outvote one, although five of nine alone do not."""
    text = "\n".join(f"server.{sid}=h{sid}:1:2" for sid in range(1, 10))
    members = Members.parse(text + "\ngroup.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9")
    assert members.contains_quorum({1, 2, 4, 5})
    assert not members.contains_quorum({1, 2, 3, 4, 7})
    weightless = Members.parse(str(members) + "\nweight.7=0\nweight.8=0\nweight.9=0")
    assert weightless.contains_quorum({1, 2, 4, 5})
    assert not weightless.contains_quorum({1, 2, 7, 8, 9})
    assert [weightless.weight(sid) for sid in (1, 9, 77)] == [1, 0, 0]


def test_observers_do_not_count():
    """Three voters and two observers: two voters decide, three of the five need not."""
    members = Members.of(member(1), member(2), member(3), member(4, observer=True), member(5, observer=True))
    assert members.voting.keys() == {1, 2, 3}
    assert members.observing.keys() == {4, 5}
    assert members.contains_quorum({1, 2})
    assert not members.contains_quorum({1, 4, 5})
    assert not Members.of().contains_quorum({1})


def test_a_tracker_needs_a_quorum_of_both_configurations():
    """SyncedLearnerTracker: while members change, the old ones and the new ones have to agree."""
    old, new = Members.of(*map(member, (1, 2, 3))), Members.of(*map(member, (3, 4, 5)), version=7)
    tracker = Tracker(old, new)
    assert [tracker.add(sid) for sid in (1, 2, 9)] == [True, True, False]
    assert not tracker.has_all_quorums
    tracker.add(3)
    assert not tracker.has_all_quorums
    tracker.add(5)
    assert tracker.has_all_quorums


# --- comparing --------------------------------------------------------------------------------------------


def test_equal_versions_are_the_same_configuration():
    """QuorumVerifier.equals: the version alone is enough, and where it differs all must be equal."""
    three = Members.parse(THREE)
    assert three.is_same_as(Members.of(member(9)))
    assert three.is_same_as(three.with_version(5))
    assert not three.is_same_as(Members.of(member(9), version=5))
    assert not three.is_same_as(Members.parse(THREE + "\ngroup.1=1:2:3"))


def test_members_may_not_share_an_address():
    """QuorumServer.checkAddressDuplicate, which spares wildcard and loopback addresses."""
    first, second = (
        Member(1, (Address("a", 1),), (Address("a", 2),)),
        Member(2, (Address("a", 2),), (Address("a", 3),)),
    )
    assert first.conflict_with(second) == "a:2 of server.1 conflicts a:2 of server.2"
    client = Member(2, (Address("b", 1),), (Address("b", 2),), Address("a", 1))
    assert client.conflict_with(first) == "a:1 of server.2 conflicts a:1 of server.1"
    for host in ("127.0.0.1", "0:0:0:0:0:0:0:1", "0.0.0.0", "localhost"):
        assert member(1, host=host).conflict_with(member(1, host=host)) is None
