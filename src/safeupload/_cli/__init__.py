"""The command line: check, normalize, compare, recover, sweep."""
