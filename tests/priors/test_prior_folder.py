"""A prior's own folder, edited, mixed with another or given in part: read right, or refused by name."""

import dataclasses
import json
import shutil
import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from scorereg import NetworkPrior, PriorCard, load_prior, sample
from scorereg.priors.adapters.conversions import cosine_betas, noise_of
from scorereg.priors.networks import UNetND, build_network
from scorereg.priors.networks.storage import read_description
from scorereg.training.export import save_prior
from scorereg.training.parametrization import PARAMETRIZATIONS

CARD, CONFIG, SCHEDULER = "card.json", "config.json", "scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
FACTS = {
    "name": "mine", "channels": ("r", "g", "b", "disparity"), "size": (8, 8), "sigma_min": 0.005, "sigma_max": 5.0,
    "d_min": 0.5, "focal": (80.0, 180.0), "architecture": "diffusers UNet2DModel", "prediction": "edm",
    "network": {"size": "tiny", "patchify": 1, "sigma_data": 0.5}, "training": {"transform": {"far": 10.0}},
}  # fmt: skip


def network(seed, **change):
    torch.manual_seed(seed)
    made = build_network("tiny", patch_size=8, channels=4, **change)
    nn.init.normal_(made.get_parameter("conv_out.weight"), std=0.05)
    return made


def edm(seed, folder, **change):
    save_prior(NetworkPrior(network(seed), PriorCard(**(FACTS | change))).eval(), folder)
    return folder


def epsilon(folder):
    noise = noise_of(betas=cosine_betas(1000))
    parts = {"prediction": "epsilon", "network": {"size": "tiny", "patchify": 1}, "sigma_min": noise.low}
    card = PriorCard(**(FACTS | parts | {"sigma_max": noise.high}))
    save_prior(PARAMETRIZATIONS["epsilon"].as_prior(network(3, patchify=1).eval(), card), folder)
    return folder


def line(folder):
    made = build_network("tiny", patch_size=(16,), channels=1)
    facts = {"channels": ("weight",), "size": (16,), "d_min": None, "depth": None, "focal": None}
    facts |= {"architecture": "scorereg UNetND", "network": {"size": "tiny", "patchify": 1}}
    save_prior(NetworkPrior(made, PriorCard(**(FACTS | facts))).eval(), folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Whole folders: two of one kind, one that predicts the noise, one of lines."""
    root = tmp_path_factory.mktemp("whole")
    return {"a": edm(0, root / "a"), "b": edm(1, root / "b"), "e": epsilon(root / "e"), "n": line(root / "n")}


@pytest.fixture
def copy(made, tmp_path):
    return lambda name: shutil.copytree(made[name], tmp_path / name)


def edit(path, **change):
    """Change entries of a JSON file; an ellipsis takes one out."""
    entries = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in entries.items() if value is not ...}))


def strip(folder, **change):
    """Write the weights again without what their header says."""
    save_file(load_file(folder / WEIGHTS) | change, folder / WEIGHTS)


def refused(folder, *says):
    with pytest.raises((ValueError, OSError)) as caught:
        load_prior(folder)
    text = str(caught.value)
    assert "\n" not in text
    for part in says:
        assert part in text, text


def test_every_field_of_a_card_is_checked():
    from scorereg.priors.card_fields import _CHECKS

    assert set(_CHECKS) == {field.name for field in dataclasses.fields(PriorCard)}


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        (CARD, {"range": [0, 1]}, "`range` is [0.0, 1.0], was [-1.0, 1.0]"),
        (CARD, {"d_min": 0.4}, "`d_min` is 0.4, was 0.5"),
        (CARD, {"focal": None}, "`focal` is null, was [80.0, 180.0]"),
        (CARD, {"channels": ["b", "g", "r", "disparity"]}, '`channels` is ["b", "g", "r", "disparity"]'),
        (CARD, {"sigma_max": 50.0}, "`sigma_max` is 50.0, was 5.0"),
        (CARD, {"prediction": "epsilon"}, '`prediction` is "epsilon", was "edm"'),
        (CARD, {"prediction": ...}, '`prediction` is "", was "edm"'),
        (CARD, {"training": {}}, '`transform` is null, was {"far": 10.0}'),
        (CARD, {"size": [16, 16], "sigma_min": 0.01}, "`sigma_min` is 0.01, was 0.005 (and 1 more)"),
        (CARD, {"network": FACTS["network"] | {"foo": 1}}, "`network` is"),
        (CARD, {"architecture": "scorereg UNetND"}, "`architecture` is"),
        (SCHEDULER, {"sigma_data": 1.0}, "`sigma_data` is 1.0, was 0.5"),
        (SCHEDULER, {"_class_name": "DDPMScheduler"}, '`_class_name` is "DDPMScheduler", was "EDMEulerScheduler"'),
        (SCHEDULER, {"clip_sample": True}, "`clip_sample` is true, was not there"),
        (SCHEDULER, {"rho": ...}, "`rho` is missing, was 7.0"),
        (CONFIG, {"norm_num_groups": 4}, "`norm_num_groups` is 4, was 8"),
        (CONFIG, {"act_fn": ...}, '`act_fn` is missing, was "silu"'),
        (CONFIG, {"_class_name": "UNet2DConditionModel"}, "`_class_name` is"),
        (CONFIG, {"add_attention": 1}, "`add_attention` is 1, was true"),
    ],
)
def test_an_edit_that_changes_numbers_is_named(copy, file, change, says):
    folder = copy("a")
    edit(folder / file, **change)
    refused(folder, f"{folder / file} is not the file that was written with its weights: ", says, "Put it back")
    with pytest.raises(ValueError, match="is not the file that was written"):
        read_description(folder)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (SCHEDULER, {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}),
        (SCHEDULER, {"num_train_timesteps": 500}),
        (SCHEDULER, {"rescale_betas_zero_snr": True}),
        (CARD, {"range": [0, 1]}),
        (CARD, {"sigma_max": 10.0}),
        (CONFIG, {"norm_num_groups": 4}),
    ],
)
def test_of_a_prior_that_predicts_the_noise_too(copy, file, change):
    folder = copy("e")
    edit(folder / file, **change)
    refused(
        folder, f"{folder / file} is not the file that was written", f"`{min(change)}`" if file != SCHEDULER else ""
    )


def test_texts_may_be_edited_and_files_be_written_anew(copy):
    folder = copy("a")
    x, level = torch.rand(1, 4, 8, 8), torch.tensor([0.3])
    before = load_prior(folder).denoise(x, level)
    edit(folder / CARD, name="other", data="rooms", licence="MIT", credits=["me"], steps=7, sigma_max=5)
    edit(folder / CONFIG, _diffusers_version="0.1")
    for name in (CARD, CONFIG, SCHEDULER):
        path = folder / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b", ", b",\r\n"))
    again = load_prior(folder)
    assert (again.card.name, again.card.licence, again.card.steps) == ("other", "MIT", 7)
    assert torch.equal(again.denoise(x, level), before)
    assert read_description(folder) == (again.card, sum(p.numel() for p in again.parameters()))
    (folder / SCHEDULER).unlink()  # its content follows from the card
    assert torch.equal(load_prior(folder).denoise(x, level), before)


def test_an_edit_on_purpose(copy, tmp_path):
    prior = load_prior(copy("a"))
    prior.card = dataclasses.replace(prior.card, d_min=0.4, sigma_max=4.0)
    save_prior(prior, tmp_path / "new")
    assert load_prior(tmp_path / "new").card == prior.card
    assert json.loads((tmp_path / "new" / SCHEDULER).read_text())["sigma_max"] == 4.0


@pytest.mark.parametrize("names", [(WEIGHTS,), (CARD,), (CARD, CONFIG, SCHEDULER)])
def test_files_of_two_priors_of_one_kind(copy, made, names):
    folder = copy("a")
    for name in names:
        shutil.copy(made["b"] / name, folder)
    refused(folder, f"{folder / CARD} was written with other weights than those of {WEIGHTS} beside it")


@pytest.mark.parametrize("other", ["e", "n"])
@pytest.mark.parametrize("name", [WEIGHTS, CARD, CONFIG, SCHEDULER])
def test_files_of_priors_of_two_kinds(copy, made, name, other):
    if (made["a"] / name).read_bytes() == (made[other] / name).read_bytes():
        pytest.skip("it is the same file")
    for one, two in (("a", other), (other, "a")):
        folder = copy(one)
        shutil.copy(made[two] / name, folder)
        refused(folder)
        shutil.rmtree(folder)


def test_without_a_record_what_contradicts_is_refused_and_the_rest_warned_of(copy, made):
    """As of weights that another program, or an older version, has written."""
    old = {"weights_sha256": ...}
    cases = [
        ("a", SCHEDULER, {"sigma_data": 1.0}, "says sigma_data 1.0, but"),
        ("a", SCHEDULER, {"_class_name": "DDPMScheduler"}, "says _class_name 'DDPMScheduler', but"),
        ("a", CARD, {"prediction": "epsilon"}, "says prediction 'epsilon', but"),
        ("a", CARD, {"size": [16, 16]}, "made for 8x8"),
        ("a", CARD, {"size": [8]}, "2 dimensions"),
        ("a", CARD, {"architecture": "scorereg UNetND"}, "is of a UNet2DModel"),
        ("a", CARD, {"network": {"patchify": 1, "sigma_data": 1.0}}, "says sigma_data 1.0"),
        ("a", CARD, {"channels": ["r", "g", "b"]}, "names 3 channels (r, g, b)"),
        ("a", CONFIG, {"_class_name": "UNet2DConditionModel"}, "is of a 'UNet2DConditionModel'"),
        ("n", CARD, {"size": [48, 48]}, "1 dimensions"),
        ("n", CARD, {"size": [15]}, "takes multiples of 2"),
        ("e", CARD, {"prediction": "edm"}, "says _class_name 'DDPMScheduler', but"),
        ("e", CARD, {"size": [32, 32]}, "has patches of 32x32, but config.json of 8x8"),
        (
            "e",
            SCHEDULER,
            {"prediction_type": "sample"},
            "says prediction 'epsilon', but scheduler_config.json 'sample'",
        ),
    ]
    for kind, file, change, says in cases:
        folder = copy(kind)
        strip(folder)
        edit(folder / CARD, **old)
        edit(folder / file, **change)
        with pytest.warns(UserWarning, match="holds no record of the card and settings beside it.*scorereg export"):
            refused(folder, says)
        shutil.rmtree(folder)
    folder = copy("a")
    strip(folder)
    edit(folder / CARD, **old, network=FACTS["network"] | {"foo": 1}, channels=["r", "g", "b", "depth"])
    edit(folder / SCHEDULER, clip_sample=True)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        load_prior(folder)
    said = [str(warning.message) for warning in heard]
    for text in ("foo means nothing in `network`", "`d_min` means nothing", "clip_sample means nothing"):
        assert sum(text in one for one in said) == 1, said


def test_without_a_scheduler_the_card_says_what_the_network_predicts(copy):
    for kind, change, says in (
        ("e", {}, "says prediction 'epsilon', but"),
        ("a", {"prediction": ""}, "does not say what the network predicts"),
    ):
        folder = copy(kind)
        strip(folder)
        edit(folder / CARD, weights_sha256=..., **change)
        (folder / SCHEDULER).unlink()
        with pytest.warns(UserWarning, match="no record"):
            refused(folder, says)
        shutil.rmtree(folder)


def test_weights(copy):
    folder = copy("a")
    strip(folder, **{"conv_in.bias": torch.full((32,), 0.1)})
    refused(folder, "was written with other weights than those of")
    folder = copy("n")
    strip(folder, **{"conv_in.bias": torch.full((32,), float("nan"))})
    edit(folder / CARD, weights_sha256=...)
    with pytest.warns(UserWarning, match="no record"):
        refused(folder, "32 of 32 values of conv_in.bias are NaN")
    folder = copy("e")
    with safe_open(folder / WEIGHTS, "pt") as file:
        told = file.metadata()
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata=told | {"written": '{"card.json": 3}'})
    refused(folder, f"{folder / WEIGHTS} is damaged: its header cannot be read")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "is of format 2, and this scorereg reads 1. Update it"),
        ({"format": "1"}, "`format` cannot be '1'"),
        ({"sigma_max": 1e9}, "`sigma_max` cannot be 1000000000.0; it is a noise level"),
        ({"sigma_max": float("nan")}, "`sigma_max` cannot be nan"),
        ({"sigma_max": True}, "`sigma_max` cannot be True"),
        ({"range": [1, -1]}, "`range` cannot be [1, -1]"),
        ({"range": [-1e30, 1e30]}, "`range` cannot be"),
        ({"channels": ["r", "r"]}, "a list of names, each once"),
        ({"channels": ["r", ""]}, "a list of names, each once"),
        ({"channels": ["r", "g "]}, "a list of names, each once"),
        ({"name": ""}, "`name` cannot be ''"),
        ({"name": "a\x1b[31m"}, "`name` cannot be"),
        ({"depth": "along the ray"}, '"planar", or null'),
        ({"prediction": "noise"}, "one of edm, epsilon"),
        ({"focal": [-80, 180]}, "`focal` cannot be [-80, 180]"),
        ({"size": [2, 2, 2, 2]}, "one to three sides"),
        ({"size": [10**9, 8]}, "one to three sides"),
        ({"steps": True}, "`steps` cannot be True"),
        ({"training": {"lr": [float("inf")]}}, "an object of finite numbers"),
        ({"denoising": {"x": [{"a": 1}]}}, "`denoising` cannot be"),
        ({"denoising": [1]}, "`denoising` cannot be"),
        ({"residual_quantiles": {"sigma": [1], "levels": [0.1, 0.5], "values": [[2, 1]]}}, "rising"),
        ({"weights_sha256": 3}, "`weights_sha256` cannot be 3"),
    ],
)
def test_a_card_that_cannot_be(copy, change, says):
    folder = copy("a")
    edit(folder / CARD, **change)
    refused(folder, str(folder / CARD), says)


def test_a_key_of_a_card_that_is_there_twice(copy):
    folder = copy("a")
    path = folder / CARD
    path.write_text(path.read_text().replace('"d_min": 0.5', '"d_min": 0.5, "d_min": 0.4'))
    refused(folder, "the key `d_min` is there twice")
    with pytest.raises(ValueError, match="the key `d_min` is there twice"):
        PriorCard.from_json(path.read_text())


def test_parts_of_a_folder(copy, made, tmp_path):
    folder = copy("a")
    assert load_prior(folder / WEIGHTS).card == load_prior(folder).card
    (folder / CARD).rename(folder / "Card (1).json")
    refused(folder, f"{folder / CARD} is missing", "If Card (1).json is it, rename it")
    shutil.copytree(made["a"], tmp_path / "zip" / "x" / "y")
    refused(tmp_path / "zip", f"Give one: load_prior('{tmp_path / 'zip' / 'x' / 'y'}')")
    refused(tmp_path / "zip" / "x", "Give one: load_prior(")
    (tmp_path / "pipe" / "scheduler").mkdir(parents=True)
    shutil.copy(made["e"] / SCHEDULER, tmp_path / "pipe" / "scheduler")
    refused(tmp_path / "pipe" / "scheduler", "holds a scheduler alone", "Give the folder with its network as well")
    (tmp_path / "pipe" / "model_index.json").write_text("{}")
    refused(tmp_path / "pipe" / "scheduler", f"Give the whole model: load_prior('{tmp_path / 'pipe'}')")


def test_links_are_followed(made, tmp_path):
    (tmp_path / "linked").mkdir()
    for path in made["a"].iterdir():
        (tmp_path / "linked" / path.name).symlink_to(path)
    (tmp_path / "folder").symlink_to(made["a"])
    for name in ("linked", "folder"):
        assert load_prior(tmp_path / name).card == load_prior(made["a"]).card


@pytest.mark.usefixtures("as_user")
def test_arguments_that_mean_nothing(copy):
    folder = copy("a")
    for wrong, says in (
        ({"autocast": "yes"}, "autocast is True or False"),
        ({"size": (8, 8)}, r"size=\(8, 8\) means nothing"),
        ({"size": (True, 8)}, "sides of a patch"),
    ):
        with pytest.raises(ValueError, match=says):
            load_prior(folder, **wrong)
    lines = lambda x, sigma: 0.5 * x  # noqa: E731
    with pytest.raises(ValueError, match=r"d_min=0.5 (means nothing|is the depth at which disparity is 1)"):
        load_prior(lines, channels=("gray",), d_min=0.5)


def test_the_prior_denoises_in_evaluation_mode_whatever_the_mode_of_its_network(copy):
    prior = load_prior(copy("a"))
    x, level = torch.rand(2, 4, 8, 8), torch.tensor([0.1, 0.2])
    prior.network.conv_in = nn.Sequential(prior.network.conv_in, nn.Dropout(0.5)).eval()
    before, residual = prior.denoise(x, level), prior.residual(x, level)
    prior.network.train()
    assert torch.equal(prior.denoise(x, level), before)
    assert torch.equal(prior.residual(x, level), residual)
    assert prior.network.training, "its owner's mode is left"
    assert not torch.equal(prior(x, level), before), "the way of training has dropout"


def test_an_answer_that_is_no_number(copy):
    prior = load_prior(copy("n"))
    prior.network.conv_out.bias.data.fill_(float("inf"))
    x, level = torch.zeros(1, 1, 16), torch.tensor([0.1])
    for method in (prior.denoise, prior.residual):
        with pytest.raises(ValueError, match="the network of prior 'mine' returned NaN or infinity in 16 of 16 values"):
            method(x, level)
    with pytest.raises(ValueError, match="weights network.conv_out.bias of NetworkPrior are not finite"):
        load_prior(prior)
    assert prior.denoise(torch.full_like(x, float("nan")), level).isnan().all(), "what was given is not the network's"


def test_samples_that_are_no_numbers():
    class Growing:
        channels = ("gray",)

        def denoise(self, x, sigma):
            return x * 1e30

    with pytest.raises(ValueError, match="samples of .*Growing.* are not finite"):
        sample(Growing(), 1, steps=5, size=(4, 4), sigmas=(0.01, 1.0))


def test_a_network_of_another_size_is_named_by_its_class(copy):
    folder = copy("n")
    assert isinstance(load_prior(folder).network, UNetND)
    edit(folder / CONFIG, foo=1)
    refused(folder, "`foo` is 1, was not there")


def test_a_size_that_contradicts_a_models_file(copy):
    folder = copy("e")
    (folder / CARD).unlink()
    names = FACTS["channels"]
    assert load_prior(folder, channels=names, size=(8, 8)).card.size == (8, 8)
    with pytest.raises(ValueError, match=r"size=\(16, 16\) contradicts .*config.json, which says sample_size 8"):
        load_prior(folder, channels=names, size=(16, 16))
    edit(folder / CONFIG, sample_size=None)
    assert load_prior(folder, channels=names, size=(16, 16)).card.size == (16, 16)


@pytest.mark.parametrize(
    ("change", "was"), [({"sigma_min": 6.0}, "`sigma_min` 0.005"), ({"sigma_max": -1}, "`sigma_max` 5.0")]
)
def test_an_entry_that_cannot_be_is_told_as_it_was_written(change, was, tmp_path):
    edm(1, tmp_path)
    entries = json.loads((tmp_path / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps(entries | change))
    for read in (load_prior, read_description):
        with pytest.raises(ValueError, match=f"card.json.*Correct .* The weights were written with {was}"):
            read(tmp_path)


def test_a_folder_above_one_that_is_named_prior(made, tmp_path):
    """As `train-prior` names it."""
    shutil.copytree(made["a"], tmp_path / "prior")
    with pytest.raises(OSError, match=r"holds 1 folders with a prior\. Give one: load_prior\('.*prior'\)"):
        load_prior(tmp_path)
