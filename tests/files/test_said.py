"""Warnings of one kind are said once; others pass."""

import warnings
from pathlib import Path

import pytest

from scorereg.files.said import FileWarning, gathered


def test_one_of_each_kind():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with gathered():
            for name in "abca":
                warnings.warn(FileWarning(Path(name), f"is dark ({name})", "dark"), stacklevel=1)
            warnings.warn(FileWarning(Path("d"), "is bright"), stacklevel=1)
            warnings.warn("something else", DeprecationWarning, stacklevel=1)
    assert {(str(each.message), each.category) for each in heard} == {
        ("a is dark (a) (2 files more alike)", UserWarning), ("d is bright", UserWarning),
        ("something else", DeprecationWarning),
    }  # fmt: skip


def test_an_error_does_not_swallow_them():
    def read():
        with gathered():
            warnings.warn(FileWarning(Path("a"), "is dark"), stacklevel=1)
            raise ValueError("stop")

    with pytest.warns(UserWarning, match="a is dark"), pytest.raises(ValueError, match="stop"):
        read()
