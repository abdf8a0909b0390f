"""The steps of docs/tutorial.md, each a whole application."""
