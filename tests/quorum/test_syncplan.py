"""DIFF, TRUNC or SNAP: against a slow copy of the questions that Apache's leader asks, in its order."""

import random

import pytest

from pyzkserver.quorum.syncplan import Beginning, Sources, beginning_of, plan_sync


def slow(
    peer: int,
    processed: int,
    kept: list[int],
    disk: list[int] | None,
    *,
    disk_enabled: bool = True,
) -> tuple[list[tuple[str, int]], bool]:
    """What ``LearnerHandler.syncFollower`` queues, and whether it needs a snapshot (release 3.9.5).

    Written down from the Java, with its variables; it knows nothing of the code under test.
    """
    queue: list[tuple[str, int]] = []
    need_op = need_snap = True
    new_epoch = peer & 0xFFFFFFFF == 0
    low, high = (kept[0], kept[-1]) if kept else (processed, processed)

    def proposals(zxids: list[int], peer_last: int, limit: int | None, committed: int) -> int:
        nonlocal need_op
        queued, previous = peer_last, -1
        epoch_start = peer_last & 0xFFFFFFFF == 0
        for zxid in zxids:
            if limit is not None and zxid > limit:
                break
            if zxid < peer_last:
                previous = zxid
                continue
            if need_op:
                if zxid == peer_last:
                    queue.append(("DIFF", committed))
                    need_op = False
                    continue
                if epoch_start:
                    queue.append(("DIFF", committed))
                    need_op = False
                elif zxid > peer_last:
                    if zxid >> 32 != peer_last >> 32:
                        return queued
                    queue.append(("TRUNC", previous))
                    need_op = False
            if zxid <= queued:
                continue
            queue.append(("PROPOSAL", zxid))
            queued = zxid
        if need_op and epoch_start:
            queue.append(("DIFF", committed))
            need_op = False
        return queued

    if processed == peer:
        queue.append(("DIFF", peer))
        need_op = need_snap = False
    elif peer > high and not new_epoch:
        queue.append(("TRUNC", high))
        need_op = need_snap = False
    elif low <= peer <= high:
        proposals(kept, peer, None, high)
        need_snap = False
    elif peer < low and disk_enabled and disk:
        current = proposals(disk, peer, low, high)
        if current < low:
            queue.clear()
            need_op = True
        else:
            proposals(kept, current, None, high)
            need_snap = False
    return ([], True) if need_snap or need_op else (queue, False)


def ours(
    peer: int, processed: int, kept: list[int], disk: list[int] | None, *, disk_enabled: bool = True
) -> tuple[list[tuple[str, int]], bool]:
    """The same by the code under test, put together as ``LearnerHandler`` does it."""
    plan = plan_sync(
        peer,
        processed=processed,
        first_kept=kept[0] if kept else None,
        last_kept=kept[-1] if kept else None,
        log_on_disk=disk_enabled,
    )
    if plan.source is Sources.SNAPSHOT:
        return [], True
    if plan.packet is not None:
        return [plan.packet], False
    zxids = list(kept)
    if plan.source is Sources.LOG_ON_DISK:
        first = kept[0] if kept else processed
        found = [zxid for zxid in disk or [] if zxid <= first]
        if not found or (kept and found[-1] < first):
            return [], True
        if kept and found[-1] == first:
            found.pop()
        zxids = found + kept
    last = kept[-1] if kept else processed
    beginning = beginning_of(peer, zxids, last)
    if beginning is None:
        return [], True
    queue = [(beginning.name, beginning.zxid)]
    queue += [("PROPOSAL", zxid) for zxid in zxids if zxid > beginning.after]
    return queue, False


def history(rng: random.Random) -> list[int]:
    zxids = []
    for epoch in range(1, rng.randrange(2, 5)):
        zxids += [(epoch << 32) + number for number in range(1, rng.randrange(1, 6) + 1)]
    return zxids


@pytest.mark.parametrize("seed", range(400))
def test_the_same_packets_as_apaches_leader(seed: int) -> None:
    """Random histories, cut where memory and disk begin, and learners at, between and beyond their zxids."""
    rng = random.Random(seed)
    whole = history(rng)
    kept = whole[rng.randrange(len(whole)) :]
    start = rng.randrange(len(whole))
    processed = whole[-1] if rng.random() < 0.7 else ((whole[-1] >> 32) + 1) << 32
    for _ in range(20):
        peer = rng.choice(
            [
                rng.choice(whole),
                rng.choice(whole) + rng.randrange(1, 7),
                rng.randrange(0, 6) << 32,
                processed,
                0,
            ]
        )
        # The log is read from the last transaction at or before the learner's on; where there is none, not at all.
        before = [zxid for zxid in whole[start:] if zxid <= peer]
        disk = whole[whole.index(before[-1]) :] if before else None
        assert ours(peer, processed, kept, disk) == slow(peer, processed, kept, disk)
        assert ours(peer, processed, kept, disk, disk_enabled=False) == slow(
            peer, processed, kept, disk, disk_enabled=False
        )


def test_a_snapshot_can_be_forced() -> None:
    """forceSnapshotSync, though a DIFF would do."""
    plan = plan_sync(5, processed=5, first_kept=1, last_kept=5, log_on_disk=True, force_snapshot=True)
    assert plan.source is Sources.SNAPSHOT


def test_examples_to_read() -> None:
    """The four ways, as people would tell them."""
    e1, e2 = 1 << 32, 2 << 32
    # In step: an empty DIFF.
    assert plan_sync(
        e1 + 5, processed=e1 + 5, first_kept=e1 + 1, last_kept=e1 + 5, log_on_disk=True
    ).packet == (
        "DIFF",
        e1 + 5,
    )
    # It has more than the leader: cut.
    assert plan_sync(
        e1 + 7, processed=e1 + 5, first_kept=e1 + 1, last_kept=e1 + 5, log_on_disk=True
    ).packet == (
        "TRUNC",
        e1 + 5,
    )
    # It has something that was never committed, and the leader went on in the same epoch: cut, then the rest.
    assert beginning_of(e1 + 5, [e1 + 3, e1 + 4, e1 + 6], e1 + 6) == Beginning("TRUNC", e1 + 4, e1 + 4)
    # The same across epochs: only a snapshot helps.
    assert beginning_of(e1 + 5, [e1 + 4, e2 + 1], e2 + 1) is None
    # It has what the leader has, up to a point: the rest.
    assert beginning_of(e1 + 4, [e1 + 3, e1 + 4, e2 + 1], e2 + 1) == Beginning("DIFF", e2 + 1, e1 + 4)
