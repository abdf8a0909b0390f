"""How Sphinx builds this documentation: `python3 run.py docs` does."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))

project = "safeupload"
author = "The safeupload authors"
version = release = version_of("safeupload")
project_copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # the anchors that hosts of repositories give to headings

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

# Every reference has to lead somewhere. Other projects' pages are not fetched, so only names of ours are known.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!safeupload\.).*")]

html_theme = "furo"
html_title = "safeupload"
html_show_sphinx = False
html_copy_source = False
