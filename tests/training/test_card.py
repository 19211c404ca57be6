"""Cards and settings on disk: what is written, and what was written before it had its present form."""

import json

import pytest
import torch
from training_runs import Waves, assert_same, content, quick, small

from scorereg import PriorCard, load_prior
from scorereg.priors.load import shipped_priors
from scorereg.training import Settings, train_prior
from scorereg.training.card import make_card
from scorereg.training.parametrization import PARAMETRIZATIONS

OLD = {
    "name": "old", "channels": ["a"], "size": [8, 8], "sigma_min": 0.01, "sigma_max": 5.0,
    "network": {"kind": "diffusers UNet2DModel, EDM preconditioning", "size": "tiny", "patchify": 2, "sigma_data": 0.5},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "architecture", "prediction"),
    [
        ("diffusers UNet2DModel, EDM preconditioning", "diffusers UNet2DModel", "edm"),
        ("scorereg UNetND, EDM preconditioning", "scorereg UNetND", "edm"),
        ("diffusers UNet2DModel, epsilon under cosine betas", "diffusers UNet2DModel", "epsilon"),
        ("a network of someone else's", "a network of someone else's", ""),
    ],
)
def test_an_old_card_says_the_same_in_two_fields(kind, architecture, prediction):
    card = PriorCard.from_json(json.dumps(OLD | {"network": OLD["network"] | {"kind": kind}}))
    assert (card.architecture, card.prediction) == (architecture, prediction)
    assert card.network == {"size": "tiny", "patchify": 2, "sigma_data": 0.5}
    assert PriorCard.from_json(card.to_json()) == card
    assert "kind" not in card.to_json()


def test_shipped_cards_are_of_the_present_form():
    for name in shipped_priors():
        card = load_prior(name).card
        assert card.prediction == "edm"
        assert card.architecture in ("diffusers UNet2DModel", "scorereg UNetND")


@pytest.mark.parametrize(("recipe", "prediction"), [("edm", "edm"), ("diffusionerf", "epsilon")])
def test_the_card_of_a_run_names_its_parametrization(recipe, prediction):
    card = make_card("x", small(recipe=recipe), Waves().about)
    assert (card.architecture, card.prediction) == ("diffusers UNet2DModel", prediction)
    assert prediction in PARAMETRIZATIONS
    assert make_card("x", small(), Waves(size=(16,)).about).architecture == "scorereg UNetND"


def test_settings_have_their_old_names_on_disk():
    settings = Settings(network_size="tiny", patch_size=16, focal=(90.0, 100.0))
    entries = settings.to_json()
    assert (entries["size"], entries["patch"], entries["focal"]) == ("tiny", 16, [90.0, 100.0])
    assert not {"network_size", "patch_size"} & set(entries)
    assert Settings.from_json(entries) == settings
    assert Settings.from_json({"size": "base", "transform": {}}) == Settings(network_size="base", linear=False)


def test_a_run_with_a_card_of_the_old_form_is_resumed(tmp_path, monkeypatch):
    """Its checkpoint has `network.kind` on the card, and settings as they were before the last three were added."""
    pytest.importorskip("accelerate")
    quick(monkeypatch)
    whole, out = tmp_path / "whole", tmp_path / "run"
    how = {"schedule": "constant"}  # so that the rate does not depend on the number of steps
    train_prior(Waves(), whole, small(steps=4, **how))
    train_prior(Waves(), out, small(steps=2, **how))
    path = out / "checkpoints" / "00000002.pt"
    state = torch.load(path, weights_only=True)
    card, settings = json.loads(state["card"]), json.loads(state["settings"])
    del card["architecture"], card["prediction"]
    card["network"] = {"kind": "diffusers UNet2DModel, EDM preconditioning", **card["network"]}
    for name in ("grain", "sharpen", "depth_factor"):
        del settings[name]
    assert {"size", "patch"} <= set(settings)
    torch.save({**state, "card": json.dumps(card), "settings": json.dumps(settings)}, path)
    train_prior(Waves(), out, small(steps=4, **how), resume=True)
    assert_same(content(out)["average"], content(whole)["average"])
