"""A share of the campaign of kills: commands are killed and resumed, and end to the bit as if they were not."""

import json
import signal

import pytest
import torch

from benchmarks.hostile import kills
from benchmarks.hostile.leavings import differences

pytest.importorskip("accelerate")


@pytest.mark.slow
@pytest.mark.parametrize("command", kills.COMMANDS)
def test_killed_commands_end_as_whole_ones(command, tmp_path):
    """One by SIGINT, one by SIGTERM, one by SIGKILL."""
    kills.main(runs=3, seed=3, only=[command], out=tmp_path / "table.json")
    tally = json.loads((tmp_path / "table.json").read_text())["commands"][command]
    assert tally["held"] == 3
    assert tally["kills"] == {"SIGINT": 1, "SIGTERM": 1, "SIGKILL": 1}


def test_a_campaign_has_signals_of_three_kinds():
    assert [kind.name for kind in kills.SIGNALS].count("SIGKILL") == 8
    assert {signal.SIGINT, signal.SIGTERM} < set(kills.SIGNALS)


def test_what_differs_is_found(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "seconds": 1.0}\n')
        torch.save({"x": torch.ones(2), "seconds": 3}, tmp_path / name / "checkpoints" / "00000002.pt")
    a, b = tmp_path / "a", tmp_path / "b"
    (b / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "seconds": 2.0}\n')
    assert differences(a, b) == []
    (b / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5000001, "seconds": 2.0}\n')
    assert differences(a, b) == ["metrics.jsonl differs"]
    (b / ".metrics.jsonl.new").write_text("")
    (a / "samples.png").write_bytes(b"x")
    torch.save({"x": torch.ones(2) * 2, "seconds": 3}, b / "checkpoints" / "00000002.pt")
    found = differences(a, b)
    assert found[:2] == [".metrics.jsonl.new is left over", "samples.png is missing"]
    assert found[2:] == ["checkpoints/00000002.pt differs", "metrics.jsonl differs"]
