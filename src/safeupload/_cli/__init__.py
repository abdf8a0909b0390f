"""The command line: check, normalize, compare."""
