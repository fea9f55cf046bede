"""Pure mathematics of pruning: no disk, no network."""
