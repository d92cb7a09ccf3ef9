"""The scenarios: conversations as data, in the order in which a reader would ask about them."""

from . import (
    scenarios_acls,
    scenarios_auth,
    scenarios_kinds,
    scenarios_malformed,
    scenarios_multis,
    scenarios_paths,
    scenarios_sessions,
    scenarios_settings,
    scenarios_tree,
    scenarios_upkeep,
    scenarios_watch_modes,
    scenarios_watches,
)
from .conversation import Scenario

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for module in (
        scenarios_tree,
        scenarios_kinds,
        scenarios_paths,
        scenarios_watches,
        scenarios_watch_modes,
        scenarios_acls,
        scenarios_auth,
        scenarios_multis,
        scenarios_sessions,
        scenarios_malformed,
        scenarios_upkeep,
        scenarios_settings,
    )
    for scenario in module.SCENARIOS
}
