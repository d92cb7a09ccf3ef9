"""One replica of the state machine: the path that every request takes, and what a role must add to it."""
