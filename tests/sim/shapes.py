"""What a world is like before anything happens in it: how many members, who decides, and what they are told to do."""

from collections import Counter
from random import Random
from typing import Any

from pyzkserver.quorum.members import Address, Member, Members, Membership

from .addresses import ELECTION_PORT, QUORUM_PORT, member_address

__all__ = ["TICK", "any_config", "any_groups", "configuration_of", "is_quorum"]

TICK = 0.1
"""Seconds."""

Groups = tuple[dict[int, int], dict[int, int]]
"""The group of each voter, and its weight."""


def any_config(random: Random) -> dict[str, Any]:
    """Settings that make a difference to what members tell each other."""
    local = random.random() < 0.2
    return {
        "tick_time": int(TICK * 1000),
        "init_limit": random.choice((10, 20)),
        "sync_limit": random.choice((3, 5, 10)),
        "snap_count": random.choice((10, 40, 100_000)),
        "snapshot_size_factor": random.choice((0.0, 0.0, 0.33, -1.0)),
        "leader_serves": random.random() < 0.8,
        "sync_enabled": random.random() < 0.7,
        "snapshot_compression_method": random.choice(("", "", "gz")),
        "max_time_to_wait_for_epoch": random.choice((-1, 300)),
        "local_sessions_enabled": local,
        "local_sessions_upgrading_enabled": local and random.random() < 0.7,
        "read_only_mode_enabled": random.random() < 0.25,
    }


def any_groups(random: Random, voters: int) -> Groups | None:
    """Mostly none: a majority decides.  Otherwise any groups and weights under which somebody can lead."""
    if voters < 3 or random.random() < 0.8:
        return None
    groups = random.choice((1, 1, 2, 3))
    # Nobody is left out of the first of them, so that no group is empty.
    group_of = {
        sid: sid % groups + 1 if sid <= groups else random.randrange(groups) + 1 for sid in _sids(voters)
    }
    weights = {sid: random.choice((0, 1, 1, 1, 2, 3)) for sid in _sids(voters)}
    for sid in range(1, groups + 1):
        weights[sid] = max(weights[sid], 1)
    return group_of, weights


def _sids(count: int) -> range:
    return range(1, count + 1)


def configuration_of(voters: int, observers: int, groups: Groups | None) -> Members:
    """The members, of whom the first ones vote."""
    members = {
        sid: Member(
            sid,
            (Address(member_address(sid), QUORUM_PORT),),
            (Address(member_address(sid), ELECTION_PORT),),
            observer=sid > voters,
        )
        for sid in _sids(voters + observers)
    }
    if groups is None:
        return Members(Membership(members))
    return Members(Membership(members, hierarchical=True, group_of=groups[0], weights=groups[1]))


def is_quorum(members: Members, sids: set[int]) -> bool:
    """Whether these members may decide, said once more: the product's own answer is what is tried here.

    More than half of the voters; or more than half of the weight in more than half of the groups that have any.
    """
    if not members.hierarchical:
        return len(sids & members.voting.keys()) > len(members.voting) / 2
    group_of, weights = members.membership.group_of, members.membership.weights
    whole, present = Counter[int](), Counter[int]()
    for sid, group in group_of.items():
        whole[group] += weights[sid]
        present[group] += weights[sid] if sid in sids else 0
    groups = [group for group, weight in whole.items() if weight]
    return sum(present[group] > whole[group] / 2 for group in groups) > len(groups) / 2
