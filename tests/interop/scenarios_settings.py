"""Settings that change what a client sees: limits, timeouts, authentication that is demanded or switched off."""

from dataclasses import replace

from .calls import (
    OPEN,
    auth,
    create,
    create_container,
    exists,
    frame,
    get_acl,
    get_children,
    get_data,
    integer,
    multi,
    ping,
    set_acl,
    string,
    sync,
    who_am_i,
    with_body,
)
from .conversation import Await, Connect, Drop, Pause, Raw, Scenario

A = ("a", Connect())
B = ("b", Connect())
LONG_NAMES = [f"/t/{n:03}{'x' * 2_000}" for n in range(600)]

SCENARIOS = [
    Scenario(
        "reply-larger-than-a-request-may-be",
        "jute.maxbuffer bounds requests; a reply may be larger",
        [
            A,
            ("a", create("/t")),
            *[
                (
                    "a",
                    replace(
                        multi(*map(create, LONG_NAMES[n : n + 200])),
                        text="multi of 200 creates",
                        reply="size",
                    ),
                )
                for n in (0, 200, 400)
            ],
            ("a", replace(get_children("/t"), reply="number of names")),
            ("a", sync("/t")),
        ],
    ),
    Scenario(
        "jute-maxbuffer",
        "A smaller jute.maxbuffer: a frame may have that many bytes and not one more",
        [
            A,
            ("a", with_body(sync("/t"), string("/t") + bytes(1_000 - 8 - 6), "in 1000 bytes")),
            ("a", create("/t", bytes(900))),
            ("a", get_data("/t")),
            (
                "a",
                Raw(
                    frame(integer(9) + integer(9) + string("/t") + bytes(1_001 - 8 - 6)), "sync in 1001 bytes"
                ),
            ),
        ],
        server="small frames",
    ),
    Scenario(
        "max-client-cnxns",
        "One connection too many from an address ends at once; when one of the others has gone there is room again",
        [
            A,
            B,
            ("c", Raw(b"", "connects")),
            ("a", sync("/")),
            ("b", Drop()),
            ("a", Pause(0.2)),
            ("a", sync("/")),
            ("d", Connect()),
            ("d", sync("/")),
        ],
        server="two connections",
        fresh=True,
    ),
    Scenario(
        "session-timeouts-as-configured",
        "minSessionTimeout and maxSessionTimeout",
        [
            (f"t{timeout}", Connect(timeout=timeout))
            for timeout in (0, 2_999, 3_000, 3_001, 8_999, 9_000, 90_000)
        ],
        server="timeouts",
    ),
    Scenario(
        "digest-switched-off",
        "Without digest authentication its ids are invalid and its packets are refused",
        [
            A,
            ("a", create("/t")),
            ("a", set_acl("/t", ((31, "digest", "ann:x"),))),
            ("a", auth("digest", b"ann:secret")),
            B,
            ("b", get_acl("/t")),
            ("b", auth("ip", b"")),
            ("b", who_am_i()),
        ],
        server="no digest",
        fresh=True,
    ),
    Scenario(
        "digest-algorithm",
        "The hash in a digest id is of the algorithm that is configured",
        [
            A,
            ("a", auth("digest", b"ann:secret")),
            ("a", create("/t", b"", ((31, "auth", ""),))),
            ("a", get_acl("/t")),
        ],
        server="sha-256",
        fresh=True,
    ),
    *[
        Scenario(
            f"authentication-enforced-{name}",
            "Whoever has not authenticated by one of the schemes is sent away with −124",
            [A, ("a", first), B, ("b", auth("digest", b"ann:x")), ("b", create("/t")), ("b", exists("/t"))],
            server="enforced",
        )
        for name, first in (
            ("write", create("/t")),
            ("read", exists("/")),
            ("ping", ping()),
            ("other-scheme", auth("ip", b"")),
        )
    ],
    Scenario(
        "containers-never-used",
        "With a limit for it, a container that never had a child goes too",
        [
            A,
            B,
            ("a", create_container("/t", b"", OPEN)),
            ("b", exists("/t", True)),
            ("b", Await(1)),
            ("a", exists("/t")),
        ],
        server="never used",
    ),
]
