"""Priors handed on: folders that diffusers reads, of every recipe and rank, and the hub without a network."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from training_runs import Waves, quick, small

from scorereg import NetworkPrior, load_prior
from scorereg.priors import WrappedPrior
from scorereg.training import export_prior, push_prior, train_prior
from scorereg.training.card import make_card
from scorereg.training.checkpoint import ema_prior, new_state, save_state


@pytest.fixture
def run(tmp_path):
    """A function that makes a run's folder with one checkpoint, its weights random throughout."""

    def make(**change) -> Path:
        data = Waves(**{name: change.pop(name) for name in ("size", "channels") if name in change})
        settings = small(**change)
        state = new_state(make_card("mine", settings, data.about), settings)
        for value in state.average.module.parameters():
            nn.init.normal_(value, std=0.05)
        state.step, state.best = 7, (7, 0.5)
        save_state(state, tmp_path / "run")
        return tmp_path / "run"

    return make


@pytest.mark.parametrize(("recipe", "kind"), [("edm", NetworkPrior), ("diffusionerf", WrappedPrior)])
def test_both_recipes_come_back_as_they_were(run, tmp_path, recipe, kind):
    out = run(recipe=recipe)
    prior = export_prior(out, tmp_path / "p", half=False, best=True)
    back = load_prior(tmp_path / "p")
    assert isinstance(prior, kind)
    assert isinstance(back, kind)
    assert back.card == prior.card
    assert back.card.steps == 7
    x, sigma = torch.randn(3, 1, 8, 8), torch.tensor([0.02, 0.2, 1.0])
    assert_close(back.denoise(x, sigma), ema_prior(out).denoise(x, sigma), rtol=1e-5, atol=1e-6)
    assert not torch.equal(back.denoise(x, sigma), x)


def test_the_noise_of_the_paper_is_in_the_folder(run, tmp_path):
    """What diffusers' own scheduler makes of it: the network predicts eps under cosine betas of a thousand steps."""
    from diffusers import DDPMScheduler, UNet2DModel

    from scorereg.priors import cosine_betas

    export_prior(run(recipe="diffusionerf"), tmp_path / "p")
    scheduler = DDPMScheduler.from_pretrained(tmp_path / "p")
    assert scheduler.config.prediction_type == "epsilon"
    assert_close(scheduler.betas.double(), cosine_betas(1000), rtol=1e-4, atol=1e-7)
    assert UNet2DModel.from_pretrained(tmp_path / "p").config.in_channels == 1


@pytest.mark.parametrize("size", [(16,), (8, 8), (8, 8, 8)], ids=str)
def test_every_rank(run, tmp_path, size):
    prior = export_prior(run(size=size, channels=("a", "b")), tmp_path / "p", half=False)
    back = load_prior(tmp_path / "p")
    assert back.card.size == size
    x = torch.randn(2, 2, *size)
    sigma = torch.tensor([0.02, 1.0])
    assert_close(back.denoise(x, sigma), prior.denoise(x, sigma))
    half = tmp_path / "half"
    export_prior(str(tmp_path / "p"), half)
    weights = "diffusion_pytorch_model.safetensors"
    assert (half / weights).stat().st_size < 0.6 * (tmp_path / "p" / weights).stat().st_size
    assert "patches of " + " x ".join(map(str, size)) in (half / "README.md").read_text()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub as a folder: what is uploaded lies there, and is downloaded from there."""
    import huggingface_hub

    root = tmp_path / "hub"

    def create(self, name, **_):
        (root / name).mkdir(parents=True, exist_ok=True)

    def upload(self, *, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)
        return f"https://hub/{repo_id}"

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(root / name))
    return root


def test_pushed_and_loaded_by_name(run, hub, tmp_path):
    out = run()
    assert push_prior(out, "me/mine") == "https://hub/me/mine"
    names = {"README.md", "card.json", "config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors"}
    assert {path.name for path in (hub / "me" / "mine").iterdir()} == names
    assert load_prior("me/mine").card == export_prior(out, tmp_path / "p").card
    page = (hub / "me" / "mine" / "README.md").read_text()
    assert page.startswith("---\n")
    assert "license_name: CC0" in page
    assert "- someone" in page


def test_what_is_not_pushed(run, hub, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(Waves, "about", property(lambda self: __import__("scorereg").data.source.SourceInfo(
        self.channels, self.size, "waves")))  # fmt: skip
    out = run()
    with pytest.raises(ValueError, match=r"prior 'mine' has no licence on its card.*--licence"):
        push_prior(out, "me/mine")
    assert not (hub / "me").exists()
    monkeypatch.undo()

    for kind in (OSError, ExceptionGroup):  # the hub's client has error types of its own

        def refuse(self, name, kind=kind, **_):
            raise kind("401\nno token") if kind is OSError else kind("401\nno token", [OSError()])

        monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
        with pytest.raises(ValueError, match=r"the hub does not take me/mine \(401 no token.*\)\. Go online, log in"):
            push_prior("rooms-rgbd-24", "me/mine")


def test_what_is_not_exported(tmp_path):
    from scorereg.priors import wrap

    with pytest.raises(ValueError, match=r"is no run, so it has no best checkpoint"):
        export_prior("rooms-rgbd-24", tmp_path / "p", best=True)
    from scorereg.training.export import save_prior

    foreign = wrap(lambda z, t: z, prediction="epsilon", alphas_cumprod=[0.9, 0.5], channels=("gray",))
    with pytest.raises(ValueError, match="was not trained here, and its format is not written"):
        save_prior(foreign, tmp_path / "p")


def test_a_pickle_in_place_of_a_checkpoint_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    (tmp_path / "checkpoints").mkdir()
    torch.save({"step": Trap()}, tmp_path / "checkpoints" / "00000001.pt")
    with pytest.raises(ValueError, match="00000001.pt is no readable checkpoint"):
        ema_prior(tmp_path)


def test_a_trained_prior_of_the_papers_recipe(tmp_path, monkeypatch):
    """The whole way, from the first step to what `load_prior` reads."""
    pytest.importorskip("accelerate")
    quick(monkeypatch)
    folder = train_prior(Waves(), tmp_path / "run", small(recipe="diffusionerf", steps=1))
    prior = load_prior(folder)
    assert isinstance(prior, WrappedPrior)
    assert prior.card.denoising["held-out"][0]["sigma"] == 0.01
    assert (prior.card.architecture, prior.card.prediction) == ("diffusers UNet2DModel", "epsilon")


@pytest.mark.parametrize("given", ["run", "run/checkpoints", "run/checkpoints/00000007.pt"])
def test_a_run_without_a_prior_is_told_how_to_make_one(run, tmp_path, given):
    run()
    with pytest.raises(
        (ValueError, OSError), match=r"00000007.pt is a checkpoint of .* export .*/run --out FOLDER"
    ) as caught:
        load_prior(tmp_path / given)
    assert "\n" not in str(caught.value)
    shutil.copy(tmp_path / "run/checkpoints/00000007.pt", tmp_path / "mine.pt")
    with pytest.raises(ValueError, match="mine.pt is a checkpoint of .* Put it into RUN/checkpoints/"):
        load_prior(tmp_path / "mine.pt")
