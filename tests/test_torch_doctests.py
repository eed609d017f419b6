"""The examples in the docstrings of inna.torch run and print what they say."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["", "._inna", "._innaprop", "._curvature"])
def test_docstring_examples(name):
    failed, tried = doctest.testmod(import_module(f"inna.torch{name}"))
    assert (failed, tried > 0) == (0, True)
