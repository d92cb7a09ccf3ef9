"""Conversations with several members of one ensemble: each connection goes to a member of its own."""

from __future__ import annotations

from collections.abc import Mapping

from . import calls
from .apache import Housekeeper
from .conversation import Address, Conversation, Scenario, transcript
from .ensemble import Ensemble
from .replies import Names


class MemberConversation(Conversation):
    """Behind each step every member is asked to catch up, so that nothing depends on who is faster."""

    fence = calls.sync("/")

    def __init__(self, addresses: Mapping[str, Address], names: Names) -> None:
        super().__init__(next(iter(addresses.values())), names)
        self.addresses = addresses

    def address_for(self, who: str) -> Address:
        return self.addresses.get(who, self.address)


def with_members(running: Ensemble, scenario: Scenario, numbers: Mapping[str, int], release: str) -> str:
    """The transcript of a conversation whose parts are had with these members."""
    addresses = {who: ("127.0.0.1", running[number].client_port) for who, number in numbers.items()}
    keeper = Housekeeper(next(iter(addresses.values())))
    try:
        names = Names(keeper.zxid(), event_zxids=release >= "3.9")
        return transcript(MemberConversation(addresses, names), scenario, release, tidy=True)
    finally:
        keeper.sweep()
        keeper.close()
