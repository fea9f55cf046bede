"""One package is one Hub repository: its files, their checks, its card."""
