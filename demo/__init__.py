"""The demo: the example for FastAPI, with a page to try it on."""
