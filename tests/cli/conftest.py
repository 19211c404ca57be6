import sys

import pytest

from scorereg.cli import main


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the entry point; return exit code, standard output and standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scorereg", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        shown = capsys.readouterr()
        return int(caught.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def refused(call, monkeypatch):
    """Run a command that is to fail; return its one line on standard error, without those that tell how far it is."""
    monkeypatch.setattr("scorereg._progress.EVERY", 1e6)

    def run(*words: object) -> str:
        code, shown, said = call(*words)
        assert (code, shown) == (2, ""), words
        assert said.startswith("scorereg: ")
        assert said.count("\n") == 1, said
        return said

    return run
