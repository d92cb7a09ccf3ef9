"""Access control: what an ACL permits, which are valid, what is stored, and who proves to be whom."""

import base64
import hashlib
from typing import Any

import pytest

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.state import acl as acl_module
from pyzkserver.state.acl import (
    ADMIN,
    CREATE,
    DELETE,
    OPEN_ACL,
    READ,
    READ_ONLY_ACL,
    WRITE,
    AccessRules,
    Acl,
    Identity,
    check,
    digest_of,
    intern,
    masked,
    permits,
)
from pyzkserver.wire.records import ACL, Id

ANN: Identity = ("digest", "ann:hash")
BOB: Identity = ("digest", "bob:hash")
HERE: Identity = ("ip", "10.1.2.3")
SUPER: Identity = ("super", "")

BITS = [READ, WRITE, CREATE, DELETE, ADMIN]


def entry(perms: int, scheme: str | None, id_: str | None) -> ACL:
    return ACL(perms, Id(scheme, id_))


def ip_matches(expression: str, address: str) -> bool:
    return permits(intern([entry(READ, "ip", expression)]), READ, [("ip", address)])


def refusal(rules: AccessRules, acl: Any, identities: list[Identity]) -> ErrorCode:
    with pytest.raises(ZooKeeperError) as refused:
        rules.fix_up(acl, identities, "/p")
    assert refused.value.path == "/p"
    return refused.value.code


# what an ACL permits


@pytest.mark.parametrize("perm", BITS)
def test_world_is_granted_what_the_entry_says_and_no_more(perm: int) -> None:
    """Each permission is one bit of its own."""
    acl = intern([entry(perm, "world", "anyone")])
    assert [permits(acl, bit, []) for bit in BITS] == [bit == perm for bit in BITS]


def test_any_of_the_asked_permissions_suffices() -> None:
    """Compatibility fact 35: getACL needs READ or ADMIN."""
    assert permits(intern([entry(ADMIN, "world", "anyone")]), READ | ADMIN, [])
    assert not permits(intern([entry(WRITE, "world", "anyone")]), READ | ADMIN, [])


def test_an_identity_is_matched_whole() -> None:
    """Scheme and id must both agree, and the entry must grant the permission itself."""
    acl = intern([entry(READ, *ANN), entry(WRITE, *BOB)])
    assert permits(acl, READ, [HERE, ANN])
    assert not permits(acl, WRITE, [HERE, ANN])
    assert permits(acl, WRITE, [ANN, BOB])
    assert not permits(acl, READ, [("digest", "ann:other"), ("ip", "ann:hash")])


def test_super_may_everything() -> None:
    """Whoever proved the superDigest is not asked further."""
    assert permits(intern([entry(0, *ANN)]), ADMIN, [HERE, SUPER])


def test_an_empty_acl_permits_everything() -> None:
    """checkACL returns at once for an ACL without entries: they come only from another server's data."""
    assert permits(Acl(()), ADMIN, [])


def test_permission_bits_beyond_the_five_are_kept() -> None:
    """Compatibility fact 57: bits are stored as they come, and grant nothing more."""
    acl = AccessRules().fix_up([entry(0x40 | READ, "world", "anyone")], [], "/p")
    assert acl[0].perms == 0x41
    assert permits(acl, READ, [])
    assert not permits(acl, WRITE, [])


def test_check_raises_no_auth_with_the_path() -> None:
    """The error names the node that the request was about."""
    with pytest.raises(ZooKeeperError) as refused:
        check(READ_ONLY_ACL, WRITE, [HERE], "/p")
    assert (refused.value.code, refused.value.path) == (ErrorCode.NO_AUTH, "/p")
    check(READ_ONLY_ACL, READ, [], "/p")


# addresses

IP_MATCHES = [
    ("10.1.2.3", "10.1.2.3", True),
    ("10.1.2.3", "10.1.2.4", False),
    ("10.1.2.0/24", "10.1.2.255", True),
    ("10.1.2.9/24", "10.1.2.1", True),  # the bits beyond the mask do not count
    ("10.1.2.0/24", "10.1.3.0", False),
    ("10.1.2.0/25", "10.1.2.127", True),
    ("10.1.2.0/25", "10.1.2.128", False),
    ("10.1.2.3/32", "10.1.2.3", True),
    ("10.1.2.2/31", "10.1.2.3", True),
    ("10.1.2.3/32", "10.1.2.2", False),
    ("0.0.0.0/0", "255.1.2.3", True),
    ("127.0.0.01", "127.0.0.1", True),
    ("127.0.0.+1", "127.0.0.1", True),
    ("127.0.0.1/+8", "127.9.9.9", True),
    ("::1", "::1", True),
    ("::1", "0:0:0:0:0:0:0:1", True),
    ("1::", "1:0:0:0:0:0:0:0", True),
    ("2001:db8::/32", "2001:db8:1::5", True),
    ("2001:db8::/32", "2001:db9::", False),
    ("2001:db8::8000/113", "2001:db8::7fff", False),
    ("2001:DB8:0:0:0:0:0:A", "2001:db8::a", True),
    ("::/0", "ffff::", True),
    ("0.0.0.0/0", "::1", False),  # an address of the other kind matches nothing
    ("::/0", "127.0.0.1", False),
    ("not an address", "127.0.0.1", False),
    ("127.0.0.1", "not an address", False),
]


@pytest.mark.parametrize(("expression", "address", "expected"), IP_MATCHES)
def test_ip_entries(expression: str, address: str, expected: bool) -> None:
    """ip:address and ip:network/bits, IPv4 and IPv6."""
    assert ip_matches(expression, address) is expected


VALID_IPS = [
    "127.0.0.1",
    "127.0.0.1/0",
    "127.0.0.1/32",
    "127.0.0.01",
    "127.0.0.+1",
    "127.0.0.-0",
    "1.2.3.4/+8",
]
VALID_IPS += [
    "1.2.3.4/008",
    "127.0.0." + "0" * 5000,
    "::",
    "::1",
    "1::",
    "1:2:3:4:5:6:7:8",
    "::1/128",
    "1::/0",
    "0001::",
    "fE80::1",
]
VALID_IPS += ["1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8"]
INVALID_IPS = ["127", "", "127.0.0", "127.0.0.1.1", "127.0.0.256", "127.0.0.-1", "127.0.0.", "127.0.0.x"]
INVALID_IPS += ["127.0.0.1/33", "127.0.0.1/-1", "127.0.0.1/", "127.0.0.1/x", "127.0.0.1/8/8", " 127.0.0.1"]
INVALID_IPS += [
    ":",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1::2::3",
    "12345::",
    "g::",
    "::1/129",
    "::ffff:1.2.3.4",
]
INVALID_IPS += ["1:2:3:4::5:6:7:8", "127.0.0." + "1" * 5000, "127.0.0.1/" + "1" * 5000]


@pytest.mark.parametrize("id_", VALID_IPS, ids=lambda id_: id_[:30])
def test_valid_ip_ids(id_: str) -> None:
    """Compatibility fact 57: Apache reads numbers as Java's parseInt does, odd ones included."""
    assert AccessRules().fix_up([entry(READ, "ip", id_)], [], "/p")[0].id.id == id_


@pytest.mark.parametrize("id_", INVALID_IPS, ids=lambda id_: id_[:30])
def test_invalid_ip_ids(id_: str) -> None:
    """Compatibility facts 44 and 57: what is no address or has a bad mask is no valid ACL."""
    assert refusal(AccessRules(), [entry(READ, "ip", id_)], []) is ErrorCode.INVALID_ACL


# what is stored

VALID_DIGESTS = ["user:hash", ":hash", "a:b:", "a:b::", "user: "]
INVALID_DIGESTS = ["user:", "a::", "::b", "a:b:c", "", "user", ":", "::"]


@pytest.mark.parametrize("id_", VALID_DIGESTS)
def test_valid_digest_ids(id_: str) -> None:
    """As Java's split(":") counts: it drops empty strings at the end, not at the beginning."""
    assert AccessRules().fix_up([entry(READ, "digest", id_)], [], "/p")[0].id.id == id_


@pytest.mark.parametrize("id_", INVALID_DIGESTS)
def test_invalid_digest_ids(id_: str) -> None:
    """Compatibility fact 44: a digest without a hash is no valid ACL."""
    assert refusal(AccessRules(), [entry(READ, "digest", id_)], []) is ErrorCode.INVALID_ACL


@pytest.mark.parametrize(
    ("acl", "code"),
    [
        (None, ErrorCode.INVALID_ACL),
        ([], ErrorCode.INVALID_ACL),
        ([entry(READ, None, "x")], ErrorCode.INVALID_ACL),
        ([entry(READ, None, None)], ErrorCode.INVALID_ACL),
        ([entry(READ, "world", "someone")], ErrorCode.INVALID_ACL),
        ([entry(READ, "sasl", "x")], ErrorCode.INVALID_ACL),
        ([entry(READ, "super", "")], ErrorCode.INVALID_ACL),
        ([entry(READ, "", "")], ErrorCode.INVALID_ACL),
        ([entry(READ, "nonesuch", None)], ErrorCode.INVALID_ACL),
        ([entry(READ, "world", None)], ErrorCode.MARSHALLING_ERROR),
        ([entry(READ, "digest", None)], ErrorCode.MARSHALLING_ERROR),
        ([entry(READ, "ip", None)], ErrorCode.MARSHALLING_ERROR),
        ([entry(READ, "world", "anyone"), entry(READ, "ip", "x")], ErrorCode.INVALID_ACL),
        ([entry(READ, "auth", "")], ErrorCode.INVALID_ACL),
    ],
)
def test_refused_acls(acl: list[ACL] | None, code: ErrorCode) -> None:
    """Null ids of known schemes are what Apache trips over; all else that is wrong is an invalid ACL."""
    assert refusal(AccessRules(), acl, [HERE]) is code


def test_one_wrong_entry_spoils_the_acl_every_time() -> None:
    """A refusal is not remembered as anything else."""
    rules = AccessRules()
    acl = [entry(READ, "world", "anyone"), entry(READ, "ip", "127")]
    assert [refusal(rules, acl, [HERE]) for _ in range(3)] == [ErrorCode.INVALID_ACL] * 3


def test_doubles_are_dropped_and_the_order_is_kept() -> None:
    """Compatibility fact 34: only exact doubles go; world:anyone beside others stays."""
    world, ann = entry(31, "world", "anyone"), entry(READ, *ANN)
    fixed = AccessRules().fix_up([ann, world, ann, entry(WRITE, *ANN), world], [], "/p")
    assert list(fixed) == [ann, world, entry(WRITE, *ANN)]


def test_an_entry_without_permissions_is_accepted() -> None:
    """Compatibility fact 44."""
    assert AccessRules().fix_up([entry(0, "world", "anyone")], [], "/p")[0].perms == 0


@pytest.mark.parametrize("id_", ["", "whoever:it is", None])
def test_auth_becomes_the_callers_authenticated_identities(id_: str | None) -> None:
    """Compatibility fact 34: whatever id is named; addresses and super are not authenticated identities."""
    fixed = AccessRules().fix_up([entry(7, "auth", id_)], [HERE, SUPER, ANN, BOB], "/p")
    assert list(fixed) == [entry(7, *ANN), entry(7, *BOB)]


def test_auth_is_expanded_after_doubles_were_dropped() -> None:
    """Compatibility fact 57: so doubles can remain."""
    fixed = AccessRules().fix_up([entry(1, *ANN), entry(1, "auth", "a"), entry(1, "auth", "b")], [ANN], "/p")
    assert list(fixed) == [entry(1, *ANN)] * 3


def test_auth_of_one_caller_is_not_remembered_for_another() -> None:
    """The memory of fixed ACLs must not give one caller's identities to the next."""
    rules = AccessRules()
    acl = [entry(31, "auth", ""), entry(1, "world", "anyone")]
    assert rules.fix_up(acl, [ANN], "/p")[0] == entry(31, *ANN)
    assert rules.fix_up(acl, [BOB], "/p")[0] == entry(31, *BOB)
    assert refusal(rules, acl, [HERE]) is ErrorCode.INVALID_ACL


def test_rules_do_not_share_what_they_remember() -> None:
    """A server without digests refuses what another server in the same process accepts."""
    acl = [entry(1, *ANN)]
    AccessRules().fix_up(acl, [], "/p")
    strict = AccessRules(digest_enabled=False)
    assert refusal(strict, acl, [ANN]) is ErrorCode.INVALID_ACL
    assert refusal(strict, [entry(1, "auth", "")], [ANN]) is ErrorCode.INVALID_ACL


def test_a_later_change_of_the_request_changes_nothing_stored() -> None:
    """What is stored is a tuple of its own: the request's list stays the request's."""
    acl = [entry(1, "world", "anyone")]
    rules = AccessRules()
    fixed = rules.fix_up(acl, [], "/p")
    acl.append(entry(31, *ANN))
    assert len(fixed) == 1
    assert len(rules.fix_up(acl, [], "/p")) == 2


def test_equal_acls_are_one_object() -> None:
    """Nodes share their ACLs: a million nodes with the open ACL hold it once."""
    rules = AccessRules()
    first = rules.fix_up([entry(31, "world", "anyone")], [], "/a")
    assert first is OPEN_ACL
    assert intern([entry(1, *ANN)]) is intern([entry(1, *ANN)])
    assert intern([entry(1, *ANN)]) is not intern([entry(3, *ANN)])


def test_what_is_remembered_of_acls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that invents ACLs without end costs no memory without end, and gets right answers."""
    monkeypatch.setattr(acl_module, "_shared", {})
    monkeypatch.setattr(acl_module, "_SHARED_LIMIT", 4)
    rules = AccessRules()
    for number in range(20):
        asked = [entry(number, *ANN)]
        assert list(rules.fix_up(asked, [], "/p")) == asked
        assert len(acl_module._shared) <= 4
        assert len(rules._fixed) <= 4


def test_an_acl_that_was_interned_before_it_was_judged_is_judged_all_the_same() -> None:
    """Requests that are decoded in place carry such ones; only world:anyone alone needs no judging."""
    rules, strict = AccessRules(), AccessRules(digest_enabled=False)
    for perms in (0, 1, 31, 0x40):
        settled = intern([entry(perms, "world", "anyone")])
        assert rules.fix_up(settled, [], "/p") is settled
    assert intern(settled) is settled
    assert refusal(rules, intern([]), []) is ErrorCode.INVALID_ACL
    assert refusal(rules, intern([entry(1, "world", "someone")]), []) is ErrorCode.INVALID_ACL
    assert refusal(rules, intern([entry(1, "ip", "anyone")]), []) is ErrorCode.INVALID_ACL
    assert refusal(strict, intern([entry(1, *ANN)]), []) is ErrorCode.INVALID_ACL
    doubled = intern([entry(1, "world", "anyone")] * 2)
    assert len(rules.fix_up(doubled, [], "/p")) == 1
    both = intern([entry(1, "world", "anyone"), entry(1, "auth", "")])
    assert list(rules.fix_up(both, [BOB], "/p")) == [entry(1, "world", "anyone"), entry(1, *BOB)]


def test_masked_hides_the_hashes_of_digests_only() -> None:
    """Compatibility fact 35: user:x for everyone who may not administer the node."""
    acl = [
        entry(1, "digest", "ann:hash"),
        entry(2, "digest", "a:b:"),
        entry(4, "ip", "::1"),
        entry(8, "digest", ":h"),
    ]
    assert masked(intern(acl)) == [
        entry(1, "digest", "ann:x"),
        entry(2, "digest", "a:x"),
        entry(4, "ip", "::1"),
        entry(8, "digest", ":x"),
    ]
    assert acl[0].id.id == "ann:hash"


# who proves to be whom


def test_a_digest_is_the_hash_of_user_and_password() -> None:
    """The value that ZooKeeper's documentation gives for super:test, and the rule behind it."""
    assert digest_of("super:test") == "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
    hashed = base64.b64encode(hashlib.sha256("ä:b:c".encode()).digest()).decode()
    assert digest_of("ä:b:c", "sha256") == f"ä:{hashed}"


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (b"super:test", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
        (b"", ":2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        (b"nocolon", "nocolon:" + base64.b64encode(hashlib.sha1(b"nocolon").digest()).decode()),
        (b"\xff:x", "\ufffd:" + base64.b64encode(hashlib.sha1("\ufffd:x".encode()).digest()).decode()),
    ],
)
def test_digest_authentication_accepts_everything(auth: bytes, expected: str) -> None:
    """Compatibility fact 57: it proves only that one knows what one said."""
    assert AccessRules().authenticate("digest", auth, "1.2.3.4") == [("digest", expected)]


@pytest.mark.parametrize(
    ("scheme", "auth"),
    [("digest", None), ("world", b"anyone"), ("sasl", b""), ("super", b""), (None, b"a:b"), ("", b"")],
)
def test_failed_authentication(scheme: str | None, auth: bytes | None) -> None:
    """Compatibility fact 36: null and unknown schemes prove nothing."""
    assert AccessRules().authenticate(scheme, auth, "1.2.3.4") is None


def test_ip_authentication_proves_the_address() -> None:
    """It can be asked for, and only says again what is known."""
    assert AccessRules().authenticate("ip", None, "1.2.3.4") == [("ip", "1.2.3.4")]


def test_digest_authentication_can_be_switched_off() -> None:
    """DigestAuthenticationProvider.enabled=false: the scheme is unknown then."""
    assert AccessRules(digest_enabled=False).authenticate("digest", b"a:b", "1.2.3.4") is None


def test_who_knows_the_super_password_is_super() -> None:
    """superDigest: the identity super comes in addition to the digest."""
    rules = AccessRules(super_digest="super:D/InIHSb7yEEbrWz8b9l71RjZJU=")
    mine = ("digest", "super:D/InIHSb7yEEbrWz8b9l71RjZJU=")
    assert rules.authenticate("digest", b"super:test", "1.2.3.4") == [SUPER, mine]
    wrong = rules.authenticate("digest", b"super:wrong", "1.2.3.4")
    assert wrong is not None
    assert SUPER not in wrong
