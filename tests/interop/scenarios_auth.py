"""Authentication: ids that a connection has, and ids that an ACL may name."""

from .calls import (
    ADMIN,
    ALL,
    EPHEMERAL,
    OPEN,
    READ,
    WRITE,
    auth,
    create,
    delete,
    exists,
    get_acl,
    get_data,
    set_acl,
    set_data,
    unknown,
    who_am_i,
)
from .conversation import Connect, Scenario, Step
from .scenarios_acls import AUTH_A, CREATOR, also_world, every_operation

A = ("a", Connect())
B = ("b", Connect())


def id_is(scheme: str, who: str) -> list[Step]:
    """Whether that id is taken in an ACL, and how it is shown then."""
    return [("a", set_acl("/t", ((ALL, scheme, who), *(OPEN or ())))), ("a", get_acl("/t"))]


IP_IDS = (
    "127.0.0.1",
    "127.0.0.1/32",
    "127.0.0.0/8",
    "127.0.0.1/0",
    "10.0.0.0/8",
    "127.0.0.01",
    "127.0.0.+1",
    "127.0.0.1/+8",
    "127.0.0.1/33",
    "127.0.0.1/-1",
    "127.0.0.1/",
    "127.0.0.1/x",
    "127.0.0.1/8/8",
    "127",
    "127.0.0",
    "127.0.0.1.1",
    "127.0.0.256",
    "127.0.0.-1",
    "a.b.c.d",
    "localhost",
    "",
    " 127.0.0.1",
)
IPV6_IDS = (
    "::1",
    "::1/128",
    "fe80::/10",
    "::1/129",
    "::",
    "1:2:3:4:5:6:7:8",
    ":::1",
    "::ffff:127.0.0.1",
    "[::1]",
)
DIGEST_IDS = ("ann:hash", "ann", "", ":", "ann:", ":hash", "a:b:c", "ann:x y", "super:x")
OTHER_IDS = (
    ("world", "anyone"),
    ("world", "someone"),
    ("world", ""),
    ("auth", "whatever"),
    ("super", "x"),
    ("super", "super:x"),
    ("x509", "CN=x"),
    ("sasl", "user"),
    ("nonsense", "x"),
    ("", ""),
    ("WORLD", "anyone"),
)

SCENARIOS = [
    Scenario(
        "acl-scheme-auth",
        'The scheme "auth" stands for all authenticated ids of the connection, whatever id is named',
        [
            A,
            ("a", create("/t", b"", CREATOR)),
            ("a", create("/t", b"", ((ALL, "auth", "x"), (READ, "world", "anyone")))),
            AUTH_A,
            ("a", create("/one", b"", CREATOR)),
            ("a", get_acl("/one")),
            ("a", auth("digest", b"second:pw")),
            ("a", create("/two", b"", ((READ, "auth", "whoever"), (ALL, "world", "anyone")))),
            ("a", get_acl("/two")),
            (
                "a",
                set_acl(
                    "/two", ((READ, "auth", ""), (READ, "auth", ""), (WRITE, "auth", ""), (ADMIN, "auth", ""))
                ),
            ),
            ("a", get_acl("/two")),
            ("a", set_acl("/two", ((ALL, "auth", ""), (ALL, "auth", "other")))),
            ("a", get_acl("/two")),
        ],
    ),
    Scenario(
        "acl-ids-ip",
        "Which ip ids are valid in an ACL",
        [A, ("a", create("/t")), *[step for who in IP_IDS for step in id_is("ip", who)]],
    ),
    Scenario(
        "acl-ids-ipv6",
        "IPv6 ids are valid since 3.9",
        [A, ("a", create("/t")), *[step for who in IPV6_IDS for step in id_is("ip", who)]],
        since="3.9",
    ),
    Scenario(
        "acl-ids-digest",
        "Which digest ids are valid in an ACL",
        [A, ("a", create("/t")), *[step for who in DIGEST_IDS for step in id_is("digest", who)]],
    ),
    Scenario(
        "acl-ids-of-other-schemes",
        "Which ids of other schemes are valid in an ACL",
        [A, ("a", create("/t")), *[step for scheme, who in OTHER_IDS for step in id_is(scheme, who)]],
    ),
    Scenario(
        "acl-ip-matches",
        "An ip id lets in who comes from there, without any authentication",
        [
            A,
            *[
                step
                for who in (
                    "127.0.0.1",
                    "127.0.0.0/8",
                    "10.0.0.0/8",
                    "127.0.0.2",
                    "0.0.0.0/0",
                    "127.0.0.1/32",
                    "127.0.0.01",
                )
                for step in (
                    ("a", create("/t", b"", ((ALL, "ip", who),))),
                    ("a", get_data("/t")),
                    ("a", set_acl("/t", OPEN)),
                    ("a", get_acl("/t")),
                    ("a", delete("/t")),
                )
            ],
        ],
    ),
    Scenario(
        "acl-masked",
        "getACL needs READ or ADMIN; without ADMIN digests come back as user:x",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", also_world(READ))),
            ("a", create("/u", b"", also_world(ADMIN))),
            ("a", create("/v", b"", also_world(WRITE))),
            (
                "a",
                create(
                    "/w", b"", ((ALL, "auth", ""), (READ, "digest", "odd:hash"), (READ, "ip", "127.0.0.1"))
                ),
            ),
            *[(who, get_acl(path)) for path in ("/t", "/u", "/v", "/w") for who in ("a", "b")],
        ],
    ),
    Scenario(
        "auth-digest",
        "Digest authentication: the hash that an id gets, several ids, the same one twice, odd credentials",
        [
            A,
            ("a", who_am_i()),
            ("a", auth("digest", b"ann:secret")),
            ("a", who_am_i()),
            ("a", auth("digest", b"ann:secret")),
            ("a", auth("digest", b"ann:other")),
            ("a", auth("digest", b"no-colon")),
            ("a", auth("digest", b"")),
            ("a", auth("digest", b":")),
            ("a", auth("digest", b"a:b:c")),
            ("a", auth("digest", "ü:ß".encode())),
            ("a", auth("digest", b"\xff\xfe:\xfd")),
            ("a", auth("digest", b"typed:x", 7)),
            ("a", who_am_i()),
            ("a", create("/t", b"", CREATOR)),
            ("a", get_acl("/t")),
        ],
    ),
    Scenario(
        "auth-ip",
        "ip authentication adds the address that is known already, whatever is said",
        [A, ("a", auth("ip", b"")), ("a", who_am_i()), ("a", auth("ip", b"10.0.0.1")), ("a", who_am_i())],
    ),
    *[
        Scenario(
            f"auth-refused-{name}",
            "Failed or unknown authentication: −115, then the end; the session lives on",
            [
                A,
                ("a", create("/t", b"", OPEN, EPHEMERAL)),
                ("a", packet),
                B,
                ("b", exists("/t")),
                ("c", Connect(resume="a")),
            ],
        )
        for name, packet in (
            ("unknown-scheme", auth("nonsense", b"x:y")),
            ("world", auth("world", b"anyone")),
            ("scheme-auth", auth("auth", b"x")),
            ("no-scheme", auth("", b"x")),
            ("null-scheme", auth(None, b"x")),
            ("null-credentials", auth("digest", None)),
            ("super-scheme", auth("super", b"super:test")),
            ("sasl-scheme", auth("sasl", b"x")),
            ("upper-case", auth("DIGEST", b"x:y")),
        )
    ],
    Scenario(
        "auth-super",
        "The super user passes every ACL; its id is told apart from the digest's",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", CREATOR)),
            ("a", create("/t/x", b"", CREATOR)),
            ("b", auth("digest", b"super:wrong")),
            ("b", get_data("/t")),
            ("b", auth("digest", b"super:test")),
            ("b", who_am_i()),
            ("b", get_data("/t")),
            ("b", get_acl("/t")),
            ("b", set_data("/t")),
            ("b", set_data("/zookeeper/config", b"x", 44)),
            ("b", delete("/t/x")),
            ("b", create("/t/y", b"", CREATOR)),
            ("b", get_acl("/t/y")),
            ("b", set_acl("/t", ((READ, "super", "x"),))),
            ("b", delete("/t/y")),
        ],
    ),
    Scenario(
        "auth-ends-with-the-connection",
        "Ids belong to the connection: resuming the session does not bring them back",
        [
            A,
            AUTH_A,
            ("a", create("/t", b"", CREATOR)),
            ("b", Connect(resume="a")),
            ("b", get_data("/t")),
            ("b", who_am_i()),
            ("b", auth("digest", b"ann:secret")),
            ("b", get_data("/t")),
        ],
    ),
    Scenario(
        "skip-acl",
        "With skipACL nothing is refused, and ACLs are kept all the same",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", CREATOR)),
            *[("b", each) for each in every_operation("/t")[:-1]],
            ("b", set_acl("/t", ())),
            ("b", set_acl("/t", CREATOR)),
            ("b", get_acl("/t")),
            ("b", unknown(13)),
        ],
        server="skip acl",
        since="3.9",
    ),
]
