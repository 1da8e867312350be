"""The online table of DRN again, in the simulated newsroom of `drn.simulation`: every method serves the same readers."""
