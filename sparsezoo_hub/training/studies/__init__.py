"""Studies: tables of runs that go on where they were stopped."""
