"""The documents as a site: `sphinx-build -W docs build/site`."""

project = "lmcodistill"
copyright = "the authors of lmcodistill"
extensions = ["myst_parser"]
# Headings that links may lead to.
myst_heading_anchors = 3
html_theme = "furo"
html_copy_source = False
