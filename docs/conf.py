"""How Sphinx builds this documentation: `python3 run.py docs` does."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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
    "docs._ext.outside",
    "docs._ext.signatures",
    "docs._ext.tables",
]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # the anchors that hosts of repositories give to headings

autodoc_member_order = "bysource"
autodoc_mock_imports = ["hypothesis", "obstore", "pytest"]  # what the modules of extras import
autodoc_type_aliases = {
    name: name
    for name in ("AsyncCheck", "AsyncReferences", "AsyncSource", "Check", "Duration", "References", "Source", "State")
}
autodoc_typehints_format = "short"
default_role = "py:obj"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

# Every reference has to lead somewhere. Other projects' pages are not fetched, so only names of ours are known,
# and of those the public ones.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!safeupload\.).*|safeupload\.(.*\.)?_.*")]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_title = "safeupload"
html_show_sphinx = False
html_copy_source = False
