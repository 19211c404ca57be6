"""The package's top: its version, names that are imported when first used, and `python -m scorereg`."""

import runpy
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import scorereg

ROOT = Path(scorereg.__file__).parent.parent


def version_in(folder: Path, monkeypatch, *, installed: str | None, project: str | None = None) -> str:
    """`__version__` of a package in `folder`, with or without a pyproject.toml beside it and an installed package."""
    if project is not None:
        (folder / "pyproject.toml").write_text(project)

    def version(name: str) -> str:
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(scorereg, "__file__", str(folder / "scorereg" / "__init__.py"))
    monkeypatch.delitem(vars(scorereg), "__version__", raising=False)
    try:
        return scorereg.__version__
    finally:
        vars(scorereg).pop("__version__", None)


def test_a_checkout_has_the_version_of_its_pyproject(tmp_path, monkeypatch):
    assert scorereg.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    own = '[project]\nname = "scorereg"\nversion = "7.8"\n'
    assert version_in(tmp_path, monkeypatch, installed="1.2", project=own) == "7.8"


@pytest.mark.parametrize("project", [None, '[project]\nname = "other"\nversion = "7.8"\n', "[tool.x]\n", "no toml"])
def test_elsewhere_the_version_is_that_of_the_installed_package(tmp_path, monkeypatch, project):
    assert version_in(tmp_path, monkeypatch, installed="1.2", project=project) == "1.2"
    assert version_in(tmp_path, monkeypatch, installed=None, project=project) == "0+unknown"


def test_names_imported_when_first_used():
    code = (
        "import sys, scorereg; lazy = {'scorereg.training', 'scorereg.evaluation', 'scorereg.data'};"
        "assert not lazy & set(sys.modules);"
        "assert {'train_prior', 'evaluate_prior', '__version__', 'ScoreLoss'} <= set(dir(scorereg));"
        "assert not lazy & set(sys.modules);"
        "from scorereg import train_prior, evaluate_prior;"
        "assert train_prior is sys.modules['scorereg.training'].train_prior;"
        "assert vars(scorereg)['evaluate_prior'] is sys.modules['scorereg.evaluation'].evaluate_prior"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'scorereg' has no attribute 'no_such_name'"):
        scorereg.no_such_name  # noqa: B018


def test_the_package_runs_as_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scorereg", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("scorereg", run_name="__main__")
    assert not end.value.code
    assert "train-prior" in capsys.readouterr().out


def test_the_top_of_the_package_stays_small():
    assert len(list(Path(scorereg.__file__).parent.glob("*.py"))) <= 9
