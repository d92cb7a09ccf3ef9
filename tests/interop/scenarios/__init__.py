"""The scenarios: conversations as data, in the order in which a reader would ask about them."""

from ..conversation import Scenario
from . import acls, malformed, multis, paths, sessions, tree, upkeep, watches

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for module in (tree, paths, watches, acls, multis, sessions, malformed, upkeep)
    for scenario in module.SCENARIOS
}
