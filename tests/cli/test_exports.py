"""The public names of the package."""

from __future__ import annotations

import inspect

import pytest

import batchkit
from batchkit import errors

INNER = {"DocumentChanged", "DocumentGone", "IllegalMove"}
"""Errors that no public call raises: they are values between rooms, or a bug."""


def test_all_is_sorted_and_has_no_doubles() -> None:
    assert batchkit.__all__ == sorted(set(batchkit.__all__))


@pytest.mark.parametrize("name", batchkit.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Lazily, and then as an ordinary attribute, with a docstring."""
    value = getattr(batchkit, name)

    assert value is getattr(batchkit, name)
    assert value.__name__ == name
    assert inspect.getdoc(value)


def test_every_error_a_user_may_catch_is_public() -> None:
    there = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.BatchkitError)
    }

    assert there - INNER <= set(batchkit.__all__)


def test_the_contract_names_are_public() -> None:
    """What scripts outside of the project are written against."""
    contract = {"Batch", "BatchRun", "Citation", "Job", "JobResult", "get_run", "list_runs"}

    assert contract <= set(batchkit.__all__)


def test_dir_lists_them_before_they_are_loaded() -> None:
    assert set(batchkit.__all__) <= set(dir(batchkit))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Bach'"):
        _ = batchkit.Bach


def test_the_version_is_the_distributions() -> None:
    assert batchkit.__version__[0].isdigit()
