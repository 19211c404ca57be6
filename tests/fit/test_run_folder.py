"""A run's folder: what is loaded is what was fitted, and what is damaged, half or another's is refused in one line."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_scenes import write_room
from torch import nn
from torch.testing import assert_close

from scorereg.cameras import Cameras
from scorereg.fit import Fit, Opacity, Recipe, fit_scene, photo_terms
from scorereg.fit.run_card import check_unchanged, write_card
from scorereg.fit.stored_field import describe_module, restore_module
from scorereg.ops import GridShape
from scorereg.priors.weights import CHECKSUM, checksum
from scorereg.rendering import MLP, DensityGrid, HashGrid, VoxelGrid
from scorereg.scenes import Scene

RECIPE = Recipe(steps=3, rays=16, samples=4, proposal_samples=6)
TINY = GridShape(levels=3, log2_slots=6, base=2, finest=8)


def scene():
    pose = torch.eye(3, 4).repeat(3, 1, 1)
    pose[:, 0, 3] = torch.tensor([0.0, 0.3, 0.1])
    cameras = Cameras(pose, torch.full((3, 2), 8.0), torch.full((3, 2), 4.0), 8, 6)
    images = torch.linspace(0, 1, 3 * 6 * 8 * 3).reshape(3, 6, 8, 3)
    names = ("a/0.png", "a/1.png", "b/\udce9.png")
    return Scene("wall", images, cameras, None, (0, 1), (2,), 1.0, 5.0, 2.0, False, names, offset=(1e7, 0.1, 0.0))


class Own(nn.Module):
    """A field of a user's own."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, points, directions):
        out = self.layer(points)
        return out[:, 0].exp(), out[:, 1:].sigmoid()

    def param_groups(self, lr, lr_network):
        return [{"params": list(self.parameters()), "lr": lr}]


def fields():
    center, radius = scene().ball()
    grid = HashGrid(center, radius, shape=TINY, hidden=8, view_degree=2, finest_level_scale=0.1, backend="eager")
    voxels = VoxelGrid(center - radius, center + radius, vertices=200, coarser=2, refine_at=(0.3,))
    return {"grid": grid, "voxels": voxels, "mlp": MLP(center, radius, layers=3, width=8, skip=1), "own": Own()}


def fitted(field="mlp", proposal=None):
    terms = [*photo_terms(), Opacity(0.02)]
    return fit_scene(scene(), field=fields()[field], terms=terms, recipe=RECIPE, seed=7, proposal=proposal)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    fitted("grid", DensityGrid(*scene().ball(), size=6)).save(folder)
    return folder


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


@pytest.mark.parametrize("field", ["grid", "voxels", "mlp", "own"])
def test_a_fit_is_loaded_as_it_was(field, tmp_path):
    fit = fitted(field, DensityGrid(*scene().ball(), size=6))
    fit.save(tmp_path)
    loaded = Fit.load(tmp_path, field=Own() if field == "own" else None, backend="eager")
    rays = fit.scene.cameras.image_rays(2)
    for old, new in zip(fit.image(rays), loaded.image(rays), strict=True):
        assert torch.equal(old, new)
    old, new = fit.scene, loaded.scene
    for name in ("name", "train", "test", "near", "far", "scale", "metric", "filenames", "scale_source", "offset"):
        assert getattr(old, name) == getattr(new, name), name
    for name in ("pose", "focal", "center"):
        assert torch.equal(getattr(old.cameras, name), getattr(new.cameras, name))
    assert (new.cameras.width, new.cameras.height) == (8, 6)
    assert (loaded.recipe, loaded.seed, loaded.seconds) == (fit.recipe, 7, fit.seconds)
    assert loaded.history == fit.history
    assert [term["name"] for term in loaded.terms] == ["photo", "background", "opacity"]
    assert loaded.terms[2]["settings"] == {"weight": 0.02}
    assert fit.has_photos
    assert not loaded.has_photos
    assert new.images.isnan().all()


def test_a_loaded_fit_is_saved_again_the_same(run, tmp_path):
    Fit.load(run).save(tmp_path / "again")
    for name in ("fit.json", "weights.safetensors", "history.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (run / name).read_bytes(), name


def test_a_proposal_that_is_a_function_is_replaced_by_the_fields_own_density(tmp_path):
    fit = fitted("voxels", lambda points: points[:, 0] * 0 + 0.5)
    fit.save(tmp_path)
    loaded, points = Fit.load(tmp_path), torch.rand(5, 3)
    assert_close(loaded.proposal(points), loaded.field.density(points))  # pyright: ignore
    given = Fit.load(tmp_path, proposal=fit.proposal)
    assert_close(given.proposal(points), torch.full((5,), 0.5))


def test_the_card_says_of_a_prior_its_name_and_the_checksum_of_its_weights():
    from scorereg import load_prior
    from scorereg.fit import PatchPrior
    from scorereg.fit.run_card import describe_terms

    prior = load_prior("rooms-rgbd-24")
    (told,) = describe_terms([PatchPrior(prior)])
    assert told["settings"]["prior"] == {"prior": "rooms-rgbd-24", "weights_sha256": prior.card.weights_sha256}
    assert told["settings"]["sigma"] == [0.1, 0.038]
    json.dumps(told, allow_nan=False)


def test_a_field_with_weights_that_are_not_finite_is_not_saved(tmp_path):
    fit = fitted()
    next(fit.field.parameters()).data[0] = torch.nan  # pyright: ignore
    with pytest.raises(ValueError, match=r"not finite: field\.trunk\.0\.weight"):
        fit.save(tmp_path)
    assert not list(tmp_path.iterdir())


def changed(*keys):
    """A damage of one entry of the card: the last argument, at the place that those before it name."""
    *place, last, value = keys

    def apply(run):
        card = json.loads((run / "fit.json").read_text())
        table = card
        for key in place:
            table = table[key]
        table[last] = value(table[last]) if callable(value) else value
        (run / "fit.json").write_text(json.dumps(card))

    return apply


def weights(change, *, agreed=True):
    """A damage of the weights; the card and the header may agree with it."""

    def apply(run):
        state = load_file(run / "weights.safetensors")
        change(state)
        total = checksum(state)
        save_file(state, run / "weights.safetensors", {CHECKSUM: total})
        if agreed:
            changed("weights", "sha256", total)(run)

    return apply


def cut(name, share=0.5):
    def apply(run):
        data = (run / name).read_bytes()
        (run / name).write_bytes(data[: int(len(data) * share)])

    return apply


def flipped(run):
    data = bytearray((run / "weights.safetensors").read_bytes())
    data[-9] ^= 4
    (run / "weights.safetensors").write_bytes(data)


def poisoned(value):
    def apply(state):
        state["field.encoder.table"][3] = value

    return weights(apply)


def older(run):
    for path in run.iterdir():
        path.unlink()
    torch.save({"field": {}}, run / "field.pt")


def only(name):
    def apply(run):
        for path in run.iterdir():
            path.unlink()
        (run / name).write_bytes(b"{}")

    return apply


HUGE = 2**31 - 1
DAMAGES = {
    "no card": (lambda run: (run / "fit.json").unlink(), "half a run: fit.json is missing beside weights"),
    "no weights": (lambda run: (run / "weights.safetensors").unlink(), "half a run: weights.safetensors is missing"),
    "half a card": (cut("fit.json"), "fit.json is no valid JSON"),
    "empty card": (cut("fit.json", 0), "fit.json is empty"),
    "half of the weights": (cut("weights.safetensors"), "weights.safetensors is damaged"),
    "empty weights": (cut("weights.safetensors", 0), "weights.safetensors is empty"),
    "a bit": (flipped, "weights.safetensors is damaged"),
    "half a history": (cut("history.jsonl", 0.97), "history.jsonl is damaged"),
    "older": (older, r"older version of scorereg \(field.pt, no fit.json\).* Fit again"),
    "not complete": (only("fit.pt"), "not complete.* --resume, ends it"),
    "a prior": (only("card.json"), "a prior or the run of train-prior, and no fit"),
    "a scene": (only("transforms.json"), "is a scene and no fit of one. Fit it first"),
    "nothing": (only("notes.txt"), "holds no fit.json, so it is no run of a fit"),
    "missing": (shutil.rmtree, "is not there; give the folder of a run"),
    "another card": (changed("kind", "prior"), "no card of a fit"),
    "newer": (changed("format", 2), "format 2, written by scorereg .*; this version reads format 1. Update scorereg"),
    "format is text": (changed("format", "1"), "`format` is '1', not a number"),
    "NaN": (poisoned(torch.nan), "field.encoder.table holds NaN or infinity"),
    "infinite": (poisoned(torch.inf), "field.encoder.table holds NaN or infinity"),
    "weights of another": (weights(lambda s: s["field.encoder.table"].mul_(2), agreed=False), "their checksums differ"),
    "a tensor less": (weights(lambda s: s.pop("field.radius")), "a HashGrid has tensor radius"),
    "a tensor more": (weights(lambda s: s.update({"field.x": torch.ones(2)})), "a HashGrid has no tensor x"),
    "half precision": (weights(lambda s: s.update({k: v.half() for k, v in s.items()})), "is not float32"),
    "other shape": (changed("field", "shape", "log2_slots", 7), "encoder.table of its HashGrid is"),
    "huge shape": (changed("field", "shape", "log2_slots", 30), "encoder.table of its HashGrid is|settings"),
    "huge width": (
        changed("field", "hidden", HUGE),
        "settings of its HashGrid cannot be|geometry.0.0.weight of its HashGrid is",
    ),
    "levels": (changed("field", "shape", "levels", 10**6), "levels is 1000000"),
    "slots": (changed("field", "shape", "log2_slots", 99), "settings of its HashGrid cannot be"),
    "shape lacks": (changed("field", "shape", lambda shape: {}), "sizes of a GridShape"),
    "encoder": (changed("field", "encoder", "cuda"), "encoder 'cuda'"),
    "no setting": (changed("field", lambda field: {"class": "HashGrid"}), "settings of its HashGrid cannot be"),
    "other class": (changed("field", "class", "Splats"), "class 'Splats', which is none of this version's"),
    "no field": (changed("field", None), "it has no `field`"),
    "proposal's size": (changed("proposal", "size", 7), "grid of its DensityGrid is"),
    "near": (changed("scene", "near", 9.0), "0 < near < far"),
    "near is NaN": (changed("scene", "near", float("nan")), "near is nan"),
    "scale": (changed("scene", "scale", 0), "scale > 0"),
    "offset": (changed("scene", "offset", [0, 0]), "offset is no list of 3 numbers"),
    "width": (changed("scene", "width", 10**9), "width is"),
    "a huge picture": (changed("scene", "height", 2**27), "pictures of 8x134217728 are larger than any photo"),
    "no cameras": (changed("scene", "cameras", []), "no list of cameras"),
    "camera": (changed("scene", "cameras", 0, "pose", 0, 0, "1"), "pose of a/0.png is '1'|is 1"),
    "rotation": (changed("scene", "cameras", 1, "pose", 0, [0, 0, 0, 0]), "pose of a/1.png has no rotation"),
    "mirrored": (changed("scene", "cameras", 1, "pose", 0, [-1, 0, 0, 0]), "pose of a/1.png has no rotation"),
    "focal": (changed("scene", "cameras", 1, "focal", [8, 0]), "focal of a/1.png is not above 0"),
    "a photo's name": (changed("scene", "cameras", 1, "photo", "\x1b[2J.png"), "is no name of a file: '.*2J.png'"),
    "no name": (changed("scene", "cameras", 1, "photo", ""), "is no name of a file"),
    "half a letter": (changed("scene", "cameras", 1, "photo", "\ud800.png"), "is no name of a file"),
    "another near": (changed("scene", "near", 1.5), "fit.json was changed after it was written"),
    "other samples": (changed("recipe", "samples", 5), "fit.json was changed after it was written"),
    "other interpolation": (changed("field", "shape", "interpolation", "smoothstep"), "was changed after it"),
    "other weights": (changed("weights", "file", "../w.safetensors"), "a run has weights.safetensors"),
    "no training": (
        changed("scene", "cameras", lambda views: [{**v, "split": "test"} for v in views]),
        "no camera is one of training",
    ),
    "scene is text": (changed("scene", "wall"), "it has no `scene`"),
    "recipe": (changed("recipe", "samples", 0), "samples is 0"),
    "too many samples": (changed("recipe", "image_oversampling", 10**6), "samples of a ray is 4000000"),
    "recipe lacks": (changed("recipe", {}), "numbers of a Recipe"),
    "background": (changed("recipe", "background", 3), "background is 3"),
    "terms": (changed("terms", {}), "`terms` is no list"),
    "seed": (changed("seed", "a"), "seed is a"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_no_whole_run_is_refused_in_one_line(name, run):
    damage, says = DAMAGES[name]
    damage(run)
    with pytest.raises((ValueError, OSError), match=says) as caught:
        Fit.load(run)
    assert str(run) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 450


def test_a_scene_that_was_moved_may_be_entered_and_a_card_without_checksum_is_warned_of(run):
    card = json.loads((run / "fit.json").read_text())
    card["scene"]["path"] = "/elsewhere"
    check_unchanged(card, run / "fit.json")
    del card["sha256"]
    with pytest.warns(UserWarning, match="fit.json has no checksum"):
        check_unchanged(card, run / "fit.json")


def test_a_file_in_place_of_a_folder_is_named(run):
    with pytest.raises(FileNotFoundError, match="is a file; give the folder"):
        Fit.load(run / "fit.json")


def test_a_run_without_its_history_is_loaded(run):
    (run / "history.jsonl").unlink()
    assert Fit.load(run).history == []


def test_a_field_of_ones_own_is_refused_by_name_with_the_cure(tmp_path):
    fitted("own").save(tmp_path)
    with pytest.raises(ValueError, match=r"holds a field of the class .*test_run_folder.Own, .* field=Own\(\.\.\.\)"):
        Fit.load(tmp_path)
    with pytest.raises(ValueError, match="does not take the weights of the run .*layer.weight"):
        Fit.load(tmp_path, field=nn.Linear(2, 2))
    with pytest.raises(ValueError, match="is made by itself. Leave `proposal` out"):
        Fit.load(tmp_path, field=Own(), proposal=lambda points: points[:, 0])


def test_a_field_that_is_not_asked_for_is_refused(run):
    with pytest.raises(ValueError, match="which is made by itself. Leave `field` out"):
        Fit.load(run, field=Own())


def test_a_device_that_is_not_there_is_refused_first(tmp_path):
    with pytest.raises(ValueError, match="device must be one that torch knows"):
        Fit.load(tmp_path, "gpu")


def test_a_grid_of_tinycudann_needs_it(run):
    changed("field", "encoder", "tinycudann")(run)
    with pytest.raises(ValueError, match="fitted with tiny-cuda-nn, which is not there .*--backend auto"):
        Fit.load(run)


def test_a_subclass_is_not_taken_for_its_parent():
    class Mine(MLP):
        """Renders something else."""

    told = describe_module(Mine(torch.zeros(3), 1.0, layers=1, width=4))
    assert told is not None
    assert told["class"].endswith("Mine")
    with pytest.raises(ValueError, match="which is none of this version's fields"):
        restore_module(told, {})


def test_scenes_of_strange_names_are_written_as_they_are(tmp_path):
    views = [{"photo": f'"@{i}@"', "split": "train"} for i in range(12)]
    content = {"scene": {"name": '\\u00000 "@0@"', "cameras": views}}
    write_card(tmp_path, content)
    assert json.loads((tmp_path / "fit.json").read_text())["scene"] == content["scene"]


def test_photos_are_read_again_and_held_against_the_run(tmp_path):
    from scorereg import load_scene

    folder = write_room(tmp_path / "room")
    loaded = load_scene(folder, 2, scale=2.0)
    fit = replace(fitted(), scene=loaded)
    fit.save(tmp_path / "run")
    again = Fit.load(tmp_path / "run")
    assert again.scene.source == loaded.source
    assert torch.equal(again.with_photos().scene.images, loaded.images)
    assert_close(again.with_photos().scene.depth, loaded.depth)
    shutil.move(folder, tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="room, the scene of the run, is not there. Give its folder: --scene"):
        again.with_photos()
    assert torch.equal(again.with_photos(tmp_path / "moved").scene.images, loaded.images)
    write_room(folder, shift=0.1)
    with pytest.raises(ValueError, match=r"room: the camera of .*\.png is not that of the run"):
        again.with_photos()
    shutil.rmtree(folder)
    write_room(folder, count=3)
    with pytest.raises(ValueError, match="has other photos than the run, '3.png' for one"):
        again.with_photos()
    with pytest.raises(ValueError, match="does not say where the scene wall lies"):
        fitted().with_photos()
