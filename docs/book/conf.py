"""The book: chapters, documents and an API reference as one static site, by ``make book``.

The repository is the source, README.md the first page, so that every link of the repository is a
link of the book. Nothing is executed and nothing is fetched, neither while it is built nor while
it is read.
"""
project = "reidlab"
author = "the reidlab authors"
root_doc = "README"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.apidoc", "sphinx.ext.napoleon",
              "sphinx-mathjax-offline"]
include_patterns = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "notebooks/*.ipynb",
                    "docs/*.md", "docs/book/**", "reidlab/pretrained/README.md"]
html_theme = "furo"
html_title = "reidlab"

nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

apidoc_modules = [{"path": "../../reidlab", "destination": "docs/book/api",
                   "module_first": True, "max_depth": 2}]
default_role = "code"                     # a single backtick in a docstring is a name
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_use_ivar = True                  # attributes are documented once

CONTENTS = """

```{toctree}
:caption: Chapters
:hidden:
:glob:

notebooks/*
```

```{toctree}
:caption: Documents
:hidden:

docs/results
docs/notes
docs/log
docs/glossary
docs/gpu
docs/scale
docs/rows
docs/experiments
docs/extending
CONTRIBUTING
Pretrained encoders <reidlab/pretrained/README>
API reference <docs/book/api/modules>
中文 <README.zh-CN>
```
"""


def add_contents(app, name: str, source: list[str]) -> None:
    """The first page is the README; its table of contents is the book's alone."""
    if name == root_doc:
        source[0] += CONTENTS


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
