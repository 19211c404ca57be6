"""What `--help` shows, and that every example of the help and of the docs is a valid command line."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import typer

import scorereg
from scorereg.cli.command import app
from scorereg.training import RECIPES, Settings

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
GROUPS = {"Data", "Scene", "Network", "Optimisation", "Prior", "Noise", "Run", "Output", "Page"}
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def options(command):
    return [param for param in command.params if param.param_type_name == "option"]


def examples(text):
    """Command lines of `scorereg` in a text: each with its words."""
    text = text.replace("\\\n", " ").replace("DATA...", "DATA")
    for line in re.findall(r"^(?:.*-m scorereg\.cli|(?:.*&&|Example:)? *scorereg) +([a-z].*)$", text, re.MULTILINE):
        yield shlex.split(line.partition("&&")[0], comments=True)


def pages():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            yield from (pytest.param(words, id=" ".join(words)) for words in examples(block))


def parse(words):
    COMMANDS[words[0]].make_context(words[0], list(words[1:]))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_group_a_text_and_a_default(name):
    for option in options(COMMANDS[name]):
        assert option.help, option.name
        assert option.rich_help_panel in GROUPS, option.name
        shown = isinstance(option.show_default, str) or (
            option.show_default and not (option.default is None or option.default is False or option.default == "")
        )
        assert option.required or shown, option.name


def in_words(value):
    if isinstance(value, tuple):
        return " ".join(map(in_words, value))
    return f"{value:g}" if isinstance(value, int | float) and value < 1000 else str(value)


def test_defaults_are_the_recipes():
    """Those in words as those in the signature: an option that is not given changes nothing of a recipe."""
    names = {"network": "network_size", "patch": "patch_size", "compiled": "compile"}
    seen = set()
    for option in options(COMMANDS["train-prior"]):
        name = names.get(option.name, option.name)
        if name not in {field.name for field in fields(Settings)} - {"recipe"}:
            continue
        seen.add(name)
        edm, other = (getattr(RECIPES[recipe], name) for recipe in ("edm", "diffusionerf"))
        if option.default is not None:
            assert edm == other == option.default, name
        elif name != "workers":
            assert edm != other
            assert option.show_default == f"edm: {in_words(edm)}, diffusionerf: {in_words(other)}"
    assert seen >= {
        "steps",
        "network_size",
        "patch_size",
        "focal",
        "lr",
        "d_min",
        "compile",
        "checkpointing",
        "seed",
        "workers",
    }


def test_help_of_a_command(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, shown, _ = call("train-prior", "--help")
    assert code == 0
    for text in ("edm: 20000, diffusionerf: 650000", "Optimisation", "METRES", "Example: scorereg train-prior DATA"):
        assert text in shown
    assert "[default: prior]" in shown
    assert "[default: (cuda where there is a GPU, else cpu)]" in shown


def test_help_lists_commands_in_groups_in_order_of_use(call):
    code, shown, _ = call("--help")
    assert code == 0
    titles = ("Fit a scene", "Use a fit", "Look at a prior", "Make training data", "Train a prior")
    order = ["fit", "render", "export", "eval", "inspect", "sample", "evaluate", "prepare", "make-rays", "make-blocks"]
    order += ["train-prior", "push"]
    for words in (titles, [f"│ {name} " for name in order]):
        places = [shown.index(word) for word in words]
        assert places == sorted(places)
    code, alone, said = call()
    assert (code, alone.strip(), said) == (2, shown.strip(), "")


def test_version(call):
    assert call("--version") == (0, f"scorereg {scorereg.__version__}\n", "")
    assert call("--version", "--help") == call("--version", "nonsense") == call("--version")


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_in_the_help_are_valid(name):
    found = list(examples(COMMANDS[name].epilog))
    assert found
    for words in found:
        assert words[0] == name
        parse(words)


@pytest.mark.parametrize("words", list(pages()))
def test_examples_in_the_docs_are_valid(words):
    parse(words)


def test_an_example_that_is_not_valid_is_found():
    (words,) = examples("scorereg sample rooms-rgbd-24 \\\n  --count 3 --size 3  # a comment")
    with pytest.raises(Exception, match="No such option: --size"):
        parse(words)


def test_the_page_of_commands_lists_each_once_with_an_example():
    rows = re.findall(r"^\| \[?`([\w-]+)`.*`scorereg (.+?)` \|$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == list(COMMANDS)
    for name, words in rows:
        assert words.split()[0] == name
        parse(shlex.split(words))
