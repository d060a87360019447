"""Configuration of the documentation site."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "equitrade"
author = "The equitrade authors"
copyright = "The equitrade authors, Apache-2.0"
version = release = installed_version("equitrade")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
# Several classes have attributes such as `name`; only unique names become links.
suppress_warnings = ["ref.python"]
html_theme = "furo"
html_title = "equitrade"
html_static_path = ["_static"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_mock_imports = ["escnn"]
autosummary_generate = True
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes of dataclasses are documented once


def escape_bars(app, what, name, obj, options, lines):
    """Escape | and * in docstrings: |x| is not a substitution, and Q* is not emphasis."""
    for i, line in enumerate(lines):
        pieces = line.split("``")
        pieces[::2] = [piece.replace("|", r"\|").replace("*", r"\*") for piece in pieces[::2]]
        lines[i] = "``".join(pieces)


def setup(app):
    """Register the hook."""
    app.connect("autodoc-process-docstring", escape_bars)
