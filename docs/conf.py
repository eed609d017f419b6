"""The site that `make docs` builds from these pages, the docstrings and the scripts in docs/pictures."""

import importlib
import os
import tomllib
from pathlib import Path
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

os.environ["KERAS_BACKEND"] = "torch"
CHECKOUT = Path(__file__).parents[1]
METADATA = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "inna"
author = copyright = METADATA["authors"][0]["name"]
release = version = METADATA["version"]
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["pictures"]
default_role = "py:obj"  # `inna.torch.INNA` in a docstring is a link

html_theme = "furo"
html_title = "inna"
html_baseurl = METADATA["urls"]["Documentation"]
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_theme_options = {"source_repository": METADATA["urls"]["Homepage"], "source_directory": "docs/"}
html_math_renderer = "mathml"
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_mock_imports = ["fastai", "timm"]  # they need a torchvision, which this does not
autodoc_typehints = "none"  # the descriptions name shapes and ranges; the types are in the source
autodoc_preserve_defaults = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

copybutton_exclude = ".linenos, .gp, .go"  # prompts and output stay behind
sphinx_gallery_conf = {
    "examples_dirs": "pictures",
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "image_srcset": ["2x"],
}


def math(self: Any, node: Any) -> None:
    """A formula as MathML, which browsers read without a script."""
    block = node.tagname == "math_block"
    latex = node.astext()
    if block and "\\\\" in latex:
        latex = rf"\begin{{align*}}{latex}\end{{align*}}"
    formula = convert(latex, display="block" if block else "inline")
    self.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise SkipNode


def every_public_name_is_there(app: Sphinx, env: Any) -> None:
    """Warn of a name in the `__all__` of a documented module that is neither there nor below it."""
    python = env.get_domain("py")
    for module in python.modules:
        found = importlib.import_module(module)
        for name in getattr(found, "__all__", []):
            if not any(key.startswith(f"{module}.") and key.endswith(f".{name}") for key in python.objects):
                logging.getLogger(__name__).warning("%s.%s is public and not on the API pages", module, name)


def setup(app: Sphinx) -> None:
    """Add the rendering of formulas and the check."""
    app.add_html_math_renderer("mathml", (math, None), (math, None))
    app.connect("env-check-consistency", every_public_name_is_there)
