"""Requests that a seed makes up: few paths, so that unlikely meetings become likely.

All of it lies below /z, which every conversation creates: on a server that is shared the root has a history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from . import calls
from .calls import Acl, Call, Text

PATHS = ("/z/r", "/z/r/a", "/z/r/b", "/z/r/a/x", "/z/r/a/y", "/z/r/a/x/deep", "/z/r/c")
NUMBERED = ("/z/r/s", "/z/r/a/", "/z/r/a/x/n-", "/z/r/s0000000001", "/z/r/s0000000003", "/z/r/a/0000000002")
ODD_PATHS: Sequence[Text] = (
    "/z/r/", "z", "/z/r//a", "/z/r/a/.", "/z/r/a/..", "/z/r/../r", "/z/r/...", "/z/r/\0", "/none/x", "/z/r/é",
    "/z/r/\u2028", "/z/r/😀", "/z/r/\x1f", "/z/r/\x7f", "/z/r/\ud800", "/z/r/\uf8ff", "/z/r/\ufff0", "/z/r/ ",
    b"/z/r/\xff\xfe", b"/z/r/\xed\xa0\x80", "//", "/z/r/" + "long" * 300,
)  # fmt: skip
"""Not the root, nor null or "", which every server has scenarios of its own about: what they show has a history."""
DATA = (b"", b"x", None, b"some longer data")
CREDENTIALS = (b"ann:1", b"bob:2", b"super:test", b"ann", b"", b"ann:1:2")
SOMEONE: Sequence[tuple[Text, Text]] = (
    ("auth", ""), ("auth", "ann"), ("digest", "ann:x"), ("digest", "ann:DehNwqgbxD6tX5UzCShrwv7MVk8="),
    ("ip", "127.0.0.1"), ("ip", "10.0.0.1"), ("ip", "127.0.0.0/8"),
)  # fmt: skip
ODD_IDS: Sequence[tuple[Text, Text]] = (
    ("digest", "ann"), ("digest", ""), ("world", "ann"), ("ip", "127.0.0.1/33"), ("ip", "::1"), ("none", "x"),
    ("super", "super"), ("auth", None), (None, None), ("digest", "a:b:c"), ("x509", "CN=x"), ("sasl", "x"),
)  # fmt: skip

# Quotas are nodes like others, so they are made, changed and deleted by the same requests.
QUOTAS = ("/zookeeper/quota/z", "/zookeeper/quota/z/r", "/zookeeper/quota/z/r/a")
LIMITS = (
    b"count=2,bytes=-1", b"count=-1,bytes=20", b"count=3,bytes=30=;byteHardLimit=40;countHardLimit=4", b"count=9",
    b"count=-1,bytes=-1=;byteHardLimit=17;countHardLimit=-1", b"count=0,bytes=0", b"count=1,bytes=x", b"", None,
)  # fmt: skip
STATS = (b"count=0,bytes=0", b"count=2,bytes=17")  # garbage, or null, brings Apache's server down


class Requests:
    """Makes up requests.  `old` keeps to what Apache 3.8 answers like 3.9, `odd` adds what no client library sends,
    `quota` what lies below /zookeeper/quota.  `members`: the leader gets no writes that cannot be parsed; Apache's
    learners wait for its answer to one for ever.  `local` sessions: Apache's leader, when it looks whether a multi
    makes an ephemeral node, may stumble, and carries out the rest of it."""

    def __init__(
        self,
        seed: int,
        *,
        old: bool,
        odd: bool = False,
        quota: bool = False,
        members: bool = False,
        local: bool = False,
    ) -> None:
        self.random = Random(seed)
        self.old = old
        self.odd = odd
        self.quota = quota
        self.members = members
        self.local = local
        self.alive: list[str] = ["/z"]  # roughly: what was asked to be created, and not to be deleted

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def path(self) -> Text:
        """Mostly a node that is there."""
        pick = self.random.random()
        if pick < 0.7:
            return self.random.choice(self.alive)
        if pick < 0.9 or (pick > 0.97 and not self.odd and self.chance(0.7)):
            return self.random.choice(PATHS)
        return self.random.choice(NUMBERED if pick < 0.95 else ODD_PATHS)

    def new_path(self) -> Text:
        """Mostly a node that is not there, but whose parent is."""
        fitting = [path for path in PATHS if path not in self.alive and path.rpartition("/")[0] in self.alive]
        path = self.random.choice(fitting) if fitting and self.chance(0.8) else self.path()
        return "/z/r" if path == "/z" else path  # no number of the root's may be asked for

    def version(self) -> int:
        unlikely = (-2, -(2**31), 2**31 - 1) if self.odd else ()
        return self.random.choice((-1,) * 8 + (0, 0, 1, 2) + unlikely)

    def acl(self) -> Acl:
        if self.chance(0.85):
            return calls.OPEN
        perms = self.random.choice((0, 1, 2, 4, 8, 16, 31, 30, 15, 23))
        odd = self.odd and not self.old and self.chance(0.3)
        some = [
            (31, *self.random.choice(ODD_IDS if odd else SOMEONE)) for _ in range(self.random.randint(1, 2))
        ]
        world = (perms | 1 if self.old else perms, "world", "anyone")
        return self.random.choice(
            ((*some, world), (world, *some), (world,), (), (world, world, *some, *some))
        )

    def data(self) -> bytes | None:
        return self.random.choice(DATA)

    # --- writes

    def create(self) -> Call:
        make = self.random.choice((calls.create, calls.create, calls.create2))
        if self.chance(0.3):
            return make(self.random.choice(NUMBERED), self.data(), self.acl(), self.random.choice((2, 3)))
        few = self.old or self.local
        flags = self.random.choice((0,) * 12 + ((1, 2, 3, 4) if few else (1, 2, 3, 4, 5, 6, 7, -1, 9)))
        path = self.new_path()
        if flags == 0 and isinstance(path, str):
            self.alive.append(path)
        return make(path, self.data(), self.acl(), flags)

    def special_create(self) -> Call:
        if self.chance(0.5):
            # Not with flags 1 and 3: until it is there, Apache takes that container for an ephemeral.
            flags = self.random.choice((4,) * 6 + (0, 2)) if self.odd else 4
            return calls.create_container(self.new_path(), self.data(), self.acl(), flags)
        choices = [
            (5, 60_000),
            (6, 60_000),
            (5, 0),
            (5, -1),
            (0, 5),
            (2, 5),
            (5, 2**40 - 1),
            (6, 2**40),
            (1, 5),
        ]
        flags, ttl = self.random.choice(
            choices
        )  # a flag of another kind with a ttl below 0 ends Apache's server
        return calls.create_ttl(self.new_path(), self.data(), self.acl(), flags, ttl=ttl)

    def set_data(self) -> Call:
        return calls.set_data(self.path(), self.data(), self.version())

    def set_acl(self) -> Call:
        return calls.set_acl(self.path(), self.acl(), self.version())

    def delete(self) -> Call:
        path = self.path()
        if path in self.alive[1:] and self.chance(0.7):
            self.alive.remove(str(path))
        if not self.old and self.chance(0.05):
            return calls.delete_container(path)
        return calls.delete(path, self.version())

    def check(self) -> Call:
        return calls.check(self.path(), self.version())

    def quota_node(self) -> Call:
        """Makes, changes or deletes a quota; nodes of these names elsewhere below /zookeeper end Apache's server."""
        where = self.random.choice(QUOTAS)
        if where == QUOTAS[0] and self.chance(0.8):
            return calls.create(where)
        name, values = self.random.choice((("zookeeper_limits", LIMITS), ("zookeeper_stats", STATS)))
        pick, value = self.random.random(), self.random.choice(values)
        if pick < 0.2:
            return calls.create(where)
        path = f"{where}/{name}"
        if pick < 0.6:
            return calls.create(path, value)
        if pick < 0.75:
            return calls.set_data(path, value)
        return calls.delete(path) if pick < 0.8 else calls.get_data(path, self.chance(0.5))

    def multi(self) -> Call:
        parts: list[Callable[[], Call]] = [self.create, self.set_data, self.delete, self.check]
        chosen = [self.random.choice(parts)() for _ in range(self.random.choice((0, 1, 2, 2, 3, 4, 8)))]
        chosen = [each for each in chosen if each.op != calls.OPCODES["deleteContainer"]]
        if not self.old and self.chance(0.2):
            chosen.insert(self.random.randint(0, len(chosen)), self.special_create())
        if self.odd and not self.old and not self.local and self.chance(0.1):
            other: tuple[Callable[[], Call], ...] = (
                self.read, self.set_acl, self.multi, self.multi_read, calls.who_am_i, calls.ping, calls.close_session,
            )  # fmt: skip
            chosen.insert(self.random.randint(0, len(chosen)), self.random.choice(other)())
        if self.old:
            chosen = [each for each in chosen if each.op != calls.OPCODES["create2"]]
        return calls.multi(*chosen)

    # --- reads and watches

    def read(self) -> Call:
        watched = (calls.exists, calls.get_data, calls.get_children, calls.get_children2)
        if self.chance(0.7):
            return self.random.choice(watched)(self.path(), self.chance(0.5))
        if self.chance(0.15):
            return calls.who_am_i()
        if self.chance(0.2):
            return calls.get_ephemerals(
                self.random.choice(("/", "/z", "/z/r/a", "/z/r/s", "", " ", None, "/none"))
            )
        others: tuple[Callable[[Text], Call], ...] = (
            calls.get_acl,
            calls.get_ephemerals,
            calls.sync,
            calls.get_all_children_number,
        )
        return self.random.choice(others)(self.path())

    def watch(self) -> Call:
        path, kind = self.path(), self.random.choice((1, 2, 3) if self.old else (1, 2, 3, 4, 5))
        if self.old:
            return calls.remove_watches(path, kind)
        if self.odd and self.chance(0.1):
            kind = self.random.choice((0, 6, -1))
        ask = self.random.choice((calls.check_watches, calls.remove_watches, None, None))
        modes = (0, 1, 2, -1) if self.odd and self.chance(0.1) else (0, 1)
        return ask(path, kind) if ask else calls.add_watch(path, self.random.choice(modes))

    def multi_read(self) -> Call:
        asks = [calls.get_data, calls.get_children]
        if self.odd and not self.old:
            asks.append(self.random.choice((calls.exists, calls.get_children2, calls.get_data)))
        paths = [self.path() for _ in range(self.random.randint(0, 4))]
        return calls.multi_read(*(self.random.choice(asks)(path, self.chance(0.3)) for path in paths))

    def set_watches(self) -> Call:
        among: Sequence[Text] = (*PATHS, *self.random.sample(ODD_PATHS, 2)) if self.odd else PATHS
        some = [self.random.sample(among, self.random.randint(0, 3)) for _ in range(5)]
        zxid = self.random.randint(0, 60)
        if self.old or self.chance(0.3):
            return calls.set_watches(zxid, *some[:3])
        return calls.set_watches2(zxid, *some)

    def request(self) -> Call:
        weighed: list[tuple[Callable[[], Call], int]] = [
            (self.create, 25),
            (self.special_create, 3),
            (self.set_data, 14),
            (self.delete, 9),
            (self.set_acl, 5),
            (self.read, 25),
            (self.watch, 12),
            (self.multi, 16),
            (self.multi_read, 3),
            (self.quota_node, 40 if self.quota else 0),
        ]
        made = self.random.choices([make for make, _ in weighed], [weight for _, weight in weighed])[0]()
        return self.garbled(made) if self.odd and self.chance(0.04) else made

    def garbled(self, made: Call) -> Call:
        """The same request, cut short, or with more behind it, or with one byte of it changed."""
        if self.old or self.members or made.op == calls.OPCODES["createTTL"]:
            return made
        at = self.random.randint(4, max(len(made.body) - 1, 4))  # a shorter path could be the root's
        how = self.random.randint(0, 2)
        if how == 0 or not made.body:
            return calls.with_body(made, made.body[:at], f"{at} bytes of it")
        if how == 1:
            return calls.with_body(made, made.body + b"more", "and more")
        # Not 0 or 1: as the length of a path in a multi it makes it the root's.
        other = self.random.choice((2, 3, 0x7F, 0xFF))
        return calls.with_body(
            made, made.body[:at] + bytes([other]) + made.body[at + 1 :], f"byte {at} is {other}"
        )

    def last_request(self) -> Call:
        """One that costs its connection."""
        return self.random.choice(
            (
                *(() if self.old else (self.check(),)),
                calls.unknown(self.random.choice((10, 23, 99, 108, 999, -2, -100))),
                calls.auth(self.random.choice(("none", "", "DIGEST", "world", "super", "x509")), b"x"),
            )
        )


def without(requests: list[Call], *names: str) -> list[Call]:
    """Those that are no such operations."""
    return [each for each in requests if each.op not in {calls.OPCODES[name] for name in names}]
