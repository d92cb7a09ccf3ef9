"""What befalls a world: machines, disks and links, one misfortune after the other, chosen by its seed."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import trio

from .network import Weather

if TYPE_CHECKING:
    from .ensemble import World
    from .member import SimMember

__all__ = ["Misfortune", "misfortunes"]

Misfortune = Callable[["World", Random], float | None]
"""It may return for how long, in seconds, it is to be the last one."""


def misfortunes(random: Random) -> list[Misfortune]:
    """Those that this world knows, each as often as it is likely."""
    all_of_them: list[tuple[Misfortune, int]] = [
        (power_failure, 6),
        (power_failure_of_all, 1),
        (torn_disk, 4),
        (power_failure_in_a_call, 4),
        (kill, 4),
        (orderly_end, 2),
        (partition, 5),
        (isolate_leader, 4),
        (exile, 8),
        (pause, 4),
        (zxids_run_out, 2),
        (one_way, 4),
        (storm, 4),
        (resets, 4),
        (clients_move, 4),
        (lost_connections, 3),
        (slow_disk, 3),
        (clock_is_set, 1),
        (full_disk, 1),
        (leader_dies, 5),
    ]
    # Most worlds know a few kinds only: so that what takes two of them is not buried under all others.
    chosen = all_of_them if random.random() < 0.3 else random.sample(all_of_them, random.randrange(2, 6))
    if random.random() < 0.4:
        # What is proposed and never decided needs all of this at once, and has to be taken back afterwards.
        chosen = [*chosen, (exile, 8)]
    return [misfortune for misfortune, weight in chosen for _ in range(weight)]


def _any_running(world: "World", random: Random) -> "SimMember | None":
    running = [member for member in world.members if member.running]
    return random.choice(running) if running else None


def _leader_or_any(world: "World", random: Random) -> "SimMember | None":
    leader = world.leader()
    return leader if leader is not None and random.random() < 0.7 else _any_running(world, random)


def _a_while(random: Random) -> float:
    return random.choice((0.05, 0.3, 1.0, 2.5)) * random.uniform(0.5, 1.5)


def _long_enough(world: "World", random: Random) -> float:
    """For a member that is cut off to become read-only, now and then, where it may."""
    more = 3.0 if world.config["read_only_mode_enabled"] and random.random() < 0.5 else 0.0
    return more + _a_while(random)


def power_failure(world: "World", random: Random) -> None:
    member = _any_running(world, random)
    if member is not None:
        member.crash()
        world.start_later(member, _a_while(random))


def torn_disk(world: "World", random: Random) -> None:
    """The power fails in the middle of a call: of what was not synced changes, or sectors, are kept as it happens."""
    member = _leader_or_any(world, random)
    if member is not None:
        member.tears = True
        member.disk.power_off_at(random.randrange(1, 12))


def power_failure_of_all(world: "World", random: Random) -> None:
    for member in world.members:
        if member.running:
            member.crash()
            world.start_later(member, _a_while(random))


def power_failure_in_a_call(world: "World", random: Random) -> None:
    """The world notices, and starts it again."""
    member = _any_running(world, random)
    if member is not None:
        member.disk.power_off_at(random.randrange(1, random.choice((3, 10, 40))))


def kill(world: "World", random: Random) -> None:
    member = _any_running(world, random)
    if member is not None:
        member.kill()
        world.start_later(member, _a_while(random))


def orderly_end(world: "World", random: Random) -> None:
    member = _any_running(world, random)
    if member is not None:
        member.stop()
        world.start_later(member, _a_while(random))


def leader_dies(world: "World", random: Random) -> None:
    """The one that leads, at any moment of its rule."""
    member = _leader_or_any(world, random)
    if member is not None:
        random.choice((member.crash, member.kill))()
        world.start_later(member, _a_while(random))


def partition(world: "World", random: Random) -> None:
    addresses = [member.address for member in world.members]
    random.shuffle(addresses)
    cut = random.randrange(1, len(addresses))
    sides = addresses[:cut], addresses[cut:]
    for client in world.client_addresses:
        random.choice(sides).append(client)
    world.note(f"partition {' '.join(sides[0])} | {' '.join(sides[1])}")
    world.network.partition(*sides)
    world.later(_long_enough(world, random), world.heal)


def isolate_leader(world: "World", random: Random) -> None:
    """From the other members; its clients may still reach it."""
    member = _leader_or_any(world, random)
    if member is not None:
        world.note(f"{member.address} is cut off")
        others = [other.address for other in world.members if other is not member]
        world.network.partition([member.address], others)
        world.later(_long_enough(world, random), world.heal)


def exile(world: "World", random: Random) -> float | None:
    """The leader, members that do not make a quorum with it, and all clients: what these write is never decided.

    The others elect a leader, of whom no client hears at first.  Those in exile come back, mended or started anew, to
    one that knows nothing of what they logged.
    """
    leader = world.leader()
    if leader is None:
        return None
    exiles, rest = [leader.address], [member.address for member in world.members if member is not leader]
    random.shuffle(rest)
    while random.random() < 0.5 and len(rest) > 1 and not world.is_quorum({*exiles, rest[-1]}):
        exiles.append(rest.pop())
    world.note(f"exile: {' '.join(exiles)} and all clients")
    for client in world.client_addresses:
        for address in rest:
            world.network.reset_between(client, address)
    world.reachable[:] = exiles
    world.network.partition([*exiles, *world.client_addresses], rest)
    world.counts["exiles"] += 1
    # As long as it takes the others to give their leader up, and a moment more.
    seconds = world.config["sync_limit"] * world.config["tick_time"] / 1000 + random.uniform(0.2, 1.0)
    end = random.choice(("mended", "crashed", "killed"))
    for member in world.members:
        if member.address in exiles and end != "mended":
            world.later(seconds * random.uniform(0.1, 0.9), _ending(member, end))
            world.start_later(member, seconds)
    world.later(seconds, lambda: world.network.rejoin([member.address for member in world.members]))
    world.later(seconds + random.choice((0.0, 0.5, 1.0)), world.heal)
    return random.choice((0.0, seconds + 1.0))


def _ending(member: "SimMember", how: str) -> Callable[[], None]:
    def end() -> None:
        if member.running and not member.world.mended:
            (member.crash if how == "crashed" else member.kill)()

    return end


def pause(world: "World", random: Random) -> None:
    """A process stands still for a while, its disk too; its system goes on taking what comes."""
    member = _leader_or_any(world, random)
    if member is None:
        return
    world.note(f"{member.address} is paused")
    workers = list(member.host.workers.values())
    member.machine.pause()
    for worker in workers:
        worker.hold()

    def resume() -> None:
        member.machine.resume()
        for worker in workers:
            worker.release()

    world.later(_a_while(random), resume)


def zxids_run_out(world: "World", random: Random) -> None:
    """The leader takes a zxid a little further on for the last one of its epoch: then another one has to begin.

    (A counter of 32 bits that really ends is in ``test_named_scenarios.py``.)
    """
    leader = world.leader()
    peer = leader.process.peer if leader is not None and leader.process is not None else None
    role = peer.leader if peer is not None else None
    if role is not None and role.established.is_set():
        leading = role.leading
        leading.last_counter = (leading.replica.last_proposed & 0xFFFF_FFFF) + random.randrange(30)
        world.note(f"the last zxid of this epoch is 0x{leading.last_counter:x}")


def one_way(world: "World", random: Random) -> None:
    source, target = random.sample([member.address for member in world.members], 2)
    world.note(f"nothing gets from {source} to {target}")
    world.network.block(source, target)
    world.later(_a_while(random), world.heal)


def storm(world: "World", random: Random) -> None:
    """One link is slow, or loses packets."""
    one, other = random.sample([member.address for member in world.members], 2)
    weather = random.choice(
        (Weather(0.05, 0.1), Weather(0.0005, 0.02, 0.3), Weather(0.2, 0.2), Weather(0.001, 0.5))
    )
    world.note(f"{weather} between {one} and {other}")
    world.network.weather(one, other, weather)
    world.later(_a_while(random), world.heal)


def resets(world: "World", random: Random) -> None:
    one, other = random.sample([*(member.address for member in world.members), *world.client_addresses], 2)
    world.note(f"the connections between {one} and {other} are reset")
    world.network.reset_between(one, other)


def clients_move(world: "World", random: Random) -> None:
    """All of them, to wherever they like."""
    world.note("the clients' connections are reset")
    for client in world.client_addresses:
        for member in world.members:
            world.network.reset_between(client, member.address)


def lost_connections(world: "World", random: Random) -> None:
    """Half open: nothing gets through on those that there are."""
    one, other = random.sample([member.address for member in world.members], 2)
    world.note(f"the connections between {one} and {other} are forgotten on the way")
    world.network.lose_between(one, other)


def slow_disk(world: "World", random: Random) -> None:
    """A disk hangs for a while."""
    member = _any_running(world, random)
    if member is None or not member.host.workers:
        return
    worker = random.choice(list(member.host.workers.values()))
    world.note(f"a disk of {member.address} hangs")
    worker.hold()
    world.later(_a_while(random), worker.release)


def clock_is_set(world: "World", random: Random) -> None:
    member = _any_running(world, random)
    if member is not None:
        member.skew = random.uniform(-3600, 3600)
        member.host.wall_clock_skew = member.skew
        world.note(f"the clock of {member.address} is set, by {member.skew:.0f} s")


def full_disk(world: "World", random: Random) -> None:
    """The next write or so fails: the member gives up, and is started again when there is room."""
    member = _any_running(world, random)
    if member is not None:
        member.disk.fail_at(random.randrange(1, 20), 28, half=random.random() < 0.5)


async def visit(world: "World", random: Random, seconds: float, mean_pause: float) -> None:
    """Let misfortunes happen for so long."""
    known = world.misfortunes or misfortunes(random)
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        await trio.sleep(random.expovariate(1 / mean_pause))
        quiet = random.choice(known)(world, random)
        if quiet:
            await trio.sleep(quiet)
