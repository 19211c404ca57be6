"""Networks are found in checkpoints of any nesting, under any wrapper's names; averaged weights come first."""

import collections
import dataclasses
import sys
import types

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg import load_prior
from scorereg.priors.adapters.lucidrains_state import find_unet
from scorereg.priors.weights import plain_names
from tests.priors.test_lucidrains import checkpoint, filled

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module")
HOLDERS = ("diffusion", "model", "net", "denoiser", "state_dict", "generator", "my_ddpm")
LEAVES = {
    "init_conv.weight": 1.0,
    "mid_block1.block1.proj.weight": 2.0,
    "final_conv.weight": 3.0,
    "downs.0.0.mlp.1.bias": 4.0,
}


def nest(flat, cuts):
    """The same names, but split at some of their dots into dictionaries: in `cuts` is how many parts go together."""
    out = {}
    for name, value in flat.items():
        parts, at = name.split("."), out
        for cut in cuts:
            if len(parts) <= cut:
                break
            key, parts = ".".join(parts[:cut]), parts[cut:]
            at = at.setdefault(key, {})
        at[".".join(parts)] = value
    return out


@st.composite
def places(draw):
    """A path to the network: holders, with wrappers anywhere before, between and after them, and inside the network."""
    wrap = st.lists(st.sampled_from(WRAPPERS), max_size=2)
    holders = draw(st.lists(st.sampled_from(HOLDERS), max_size=3))
    path = [part for holder in holders for part in (*draw(wrap), holder)] + draw(wrap)
    inside = {name: insert(name, draw(st.sampled_from(("", *WRAPPERS)))) for name in LEAVES}
    return path, holders, inside


def insert(name, wrapper):
    """A wrapper's name inside a network's, as compiling a block of it leaves it."""
    first, _, rest = name.partition(".")
    return f"{first}.{wrapper}.{rest}" if wrapper else name


@settings(max_examples=150, deadline=None)
@given(place=places(), cuts=st.lists(st.integers(1, 3), max_size=3), tabled=st.booleans())
def test_a_network_is_found_in_any_nesting(place, cuts, tabled, tmp_path_factory):
    path, holders, inside = place
    flat = {".".join([*path, inside[name]]): torch.tensor([value]) for name, value in LEAVES.items()}
    if tabled:
        above = path[: len(path) - 1] if holders and path[-1] == holders[-1] else path
        flat[".".join([*above, "betas"])] = torch.tensor([0.1, 0.2])
    found = find_unet(
        nest(flat, cuts) | {"step": 3, "opt": {"state": {0: torch.zeros(1)}}}, tmp_path_factory.getbasetemp()
    )
    assert found is not None
    got = {name: value.item() for name, value in found.weights.items() if name != "betas"}
    assert got == LEAVES
    assert found.where == ".".join(holders)
    assert ("betas" in found.buffers) == tabled
    assert not found.averaged


@pytest.mark.parametrize(
    ("place", "averaged"),
    [
        ("ema.ema_model.model", True),
        ("ema.online_model.model", False),
        ("model", False),
        ("state_dict.ema.online_model.model", False),
        ("model_ema.model", True),
        ("state_dict.diffusion_ema", True),
        ("ema_state.net", True),
        ("swa_model.module", True),
        ("cinema", False),
        ("schema.model", False),
    ],
)
def test_which_weights_are_averaged(place, averaged, tmp_path):
    found = find_unet({f"{place}.{name}": torch.zeros(1) for name in LEAVES}, tmp_path)
    assert found is not None
    assert found.averaged == averaged


def content_of(tmp_path, **settings):
    return torch.load(checkpoint(tmp_path / "plain.pt", **settings), weights_only=True)


@pytest.mark.parametrize(
    ("change", "weights"),
    [
        (lambda c: c["model"], "weights: `model`, not averaged"),
        (lambda c: {"state_dict": {f"diffusion.{k}": v for k, v in c["model"].items()}, "global_step": 9}, "diffusion"),
        (lambda c: {"state_dict": {f"ema_model.module.{k}": v for k, v in c["model"].items()}}, "averaged"),
        (lambda c: {"model": {f"_orig_mod.{k}": v for k, v in c["model"].items()}}, "not averaged"),
        (lambda c: {"ema": {f"module.model.{k}": v for k, v in c["model"].items()}}, ", averaged"),
        (lambda c: {"epoch": 3, "nets": {"denoiser": dict(c["model"])}}, "nets.denoiser"),
    ],
)
def test_files_of_other_training_loops(change, weights, tmp_path):
    content = content_of(tmp_path, ema=False)
    torch.save(change(content), tmp_path / "other.ckpt")
    prior, plain = load_prior(tmp_path / "other.ckpt"), load_prior(tmp_path / "plain.pt")
    x, sigma = torch.randn(2, 3, 8, 8), torch.tensor([0.1, 2.0])
    assert torch.equal(prior.denoise(x, sigma), plain.denoise(x, sigma))
    assert weights in " ".join(prior.card.assumed)
    assert prior.prediction == "epsilon"


def test_averaged_weights_without_a_table_take_the_other_ones_table(tmp_path):
    content = content_of(tmp_path, ema=False)
    network = {k.removeprefix("model."): v for k, v in content["model"].items() if k.startswith("model.")}
    doubled = {f"ema_model.{name}": 2 * value for name, value in network.items()}
    torch.save({"model": content["model"], "ema": doubled}, tmp_path / "m.pt")
    prior = load_prior(tmp_path / "m.pt")
    assert "weights: `ema.ema_model`, averaged" in prior.card.assumed
    assert torch.equal(prior.network.final_conv.bias, 2 * network["final_conv.bias"])


def test_two_networks_are_not_chosen_from(tmp_path):
    content = content_of(tmp_path, ema=False)
    other = {name: value + 1 if value.ndim > 1 else value for name, value in content["model"].items()}
    torch.save({"stage1": content["model"], "stage2": other}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"m.pt holds 2 networks \(stage1.model, stage2.model\). Save the one that is"):
        load_prior(tmp_path / "m.pt")
    torch.save({"stage1": content["model"], "stage2": content["model"]}, tmp_path / "m.pt")
    assert load_prior(tmp_path / "m.pt").prediction == "epsilon"


def test_a_state_dict_of_the_unet_alone_needs_a_table_and_a_prediction(tmp_path):
    torch.save(filled("2.3.4"), tmp_path / "unet.pt")
    with pytest.raises(
        ValueError, match=r"unet.pt does not say what its network predicts .* nor its noise table"
    ) as caught:
        load_prior(tmp_path / "unet.pt")
    assert "load_prior('unet.pt', prediction='epsilon', betas=scorereg.priors.cosine_betas(1000))" in str(caught.value)
    assert "\n" not in str(caught.value)
    betas = torch.linspace(1e-4, 0.02, 50, dtype=torch.float64)
    prior = load_prior(tmp_path / "unet.pt", prediction="sample", betas=betas)
    kept = (1 - betas).cumprod(0)[20]
    x, sigma = torch.randn(2, 3, 8, 8), ((1 - kept) / kept).sqrt().float().expand(2)
    assert_close(prior.denoise(x, sigma), prior.network(kept.sqrt().float() * x, torch.tensor([20.0, 20.0])))


def test_a_safetensors_file_alone(tmp_path):
    content = content_of(tmp_path, ema=False)
    safetensors.torch.save_file({k: v.contiguous() for k, v in content["model"].items()}, tmp_path / "m.safetensors")
    x, sigma = torch.randn(1, 3, 8, 8), torch.tensor([0.5])
    one, two = load_prior(tmp_path / "m.safetensors"), load_prior(tmp_path / "plain.pt")
    assert torch.equal(one.denoise(x, sigma), two.denoise(x, sigma))


def test_what_contradicts_the_file_is_refused(tmp_path):
    path = checkpoint(tmp_path / "m.pt")
    for said, says in (
        ({"betas": torch.linspace(1e-4, 0.02, 100)}, "the betas that were given contradict those of the file"),
        ({"version": "1.0.0"}, "was written by version 2.3.4, not 1.0.0"),
        ({"version": "newest"}, "'newest' is no version"),
        ({"groups": 4}, "without group norm, so groups=4 means nothing"),
        ({"prediction": "pred_v"}, "objective='pred_v' is prediction='v_prediction'"),
        ({"prediction": "velocity"}, "'velocity' is not one of epsilon, sample, v_prediction"),
        ({"variant": "fp16"}, "variant='fp16' means nothing for the checkpoint"),
        ({"autocast": True}, "autocast=True means nothing"),
    ):
        with pytest.raises(ValueError, match=says) as caught:
            load_prior(path, **said)
        assert "\n" not in str(caught.value)
    table = torch.load(path, weights_only=True)["ema"]["ema_model.betas"]
    assert load_prior(path, betas=table.double(), prediction="epsilon", version="2.3.4").prediction == "epsilon"


def test_groups_that_no_tensor_tells(tmp_path):
    path = checkpoint(tmp_path / "m.pt", "1.8.8", dim=12, groups=4)
    with pytest.raises(
        ValueError, match=r"m.pt does not say the groups of its group norms over 12, 24 channels"
    ) as caught:
        load_prior(path)
    assert "load_prior('m.pt', groups=4)" in str(caught.value)
    assert "--groups" in str(caught.value)
    with pytest.raises(ValueError, match="over 12, 24 channels, which groups=8 does not divide"):
        load_prior(path, groups=8)
    x, sigma = torch.randn(1, 3, 8, 8), torch.tensor([0.5])
    by_groups = [load_prior(path, groups=groups).denoise(x, sigma) for groups in (3, 4)]
    assert not torch.allclose(*by_groups)
    even = load_prior(checkpoint(tmp_path / "e.pt", "1.8.8"))
    assert "group norms of 8 groups: groups= says otherwise" in even.card.assumed


@pytest.mark.parametrize("version", ["0.31.1", "1.4.0"])
def test_what_old_files_do_not_say(version, tmp_path):
    named = version >= "1"
    like = "0.31.1"
    path = checkpoint(tmp_path / "m.pt", like)
    if named:
        torch.save(torch.load(path, weights_only=True) | {"version": version}, path)
    says = r"does not say what its network predicts \(the objective: 'epsilon' for pred_noise"
    with pytest.raises(ValueError, match=says) as caught:
        load_prior(path)
    assert ("the version of denoising-diffusion-pytorch" in str(caught.value)) == (not named)
    given = {} if named else {"version": version}
    for prediction in ("epsilon", "sample", "v_prediction"):
        assert load_prior(path, prediction=prediction, **given).prediction == prediction


def test_data_range_is_assumed_and_said(tmp_path):
    path = checkpoint(tmp_path / "m.pt")
    prior, other = load_prior(path), load_prior(path, data_range=(0, 1))
    assert any(line.startswith("data in [-1, 1]") for line in prior.card.assumed)
    assert not any("data in" in line for line in other.card.assumed)
    assert other.card.sigma_min == pytest.approx(2 * prior.card.sigma_min)
    assert other.card == dataclasses.replace(type(other.card).from_json(other.card.to_json())), "survives JSON"


def test_records_of_training_are_not_loaded(tmp_path, monkeypatch):
    """Settings in classes of Lightning and numbers of NumPy, as its ModelCheckpoint writes them."""
    place = "pytorch_lightning.utilities.parsing"
    for name in ("pytorch_lightning", "pytorch_lightning.utilities", place):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    settings = type("AttributeDict", (dict,), {"__module__": place})
    monkeypatch.setattr(sys.modules[place], "AttributeDict", settings, raising=False)
    content = content_of(tmp_path, ema=False)
    torch.save(
        {
            "state_dict": {f"ddpm.{k}": v for k, v in content["model"].items()},
            "hyper_parameters": settings(lr=1e-4, channels=[3]),
            "callbacks": {"best": np.float64(0.3), "seen": collections.defaultdict(list, {1: [2]})},
            "loss": np.arange(3),
        },
        tmp_path / "last.ckpt",
    )
    for name in ("pytorch_lightning", "pytorch_lightning.utilities", place):
        monkeypatch.delitem(sys.modules, name)
    assert load_prior(tmp_path / "last.ckpt").channels == ("r", "g", "b")


def test_names_of_a_dictionary_that_holds_itself():
    content = {"a": torch.ones(1)}
    content["again"] = content
    assert set(plain_names(content)) == {"a"}
    with pytest.raises(ValueError, match="two different tensors are called a.b"):
        plain_names({"a.b": torch.ones(1), "a": {"module.b": torch.zeros(1)}})
