"""Members of an ensemble: who they are, how they elect a leader, and how they keep one history."""
