"""The hook on renderers that are not torch, and depth completion: the examples run, and their parts hold."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from examples import complete_depth
from examples.rgbd_frame import ROOM, read_frame
from scorereg import GaussianFieldPrior, ScoreLoss

pytest.importorskip("scipy", reason="needs scipy, from the extra examples")
pytest.importorskip("matplotlib", reason="needs matplotlib, from the extra examples")

ROOT = Path(__file__).resolve().parent.parent.parent
PHOTO = ("r", "g", "b", "disparity")


def stand_in():
    """A prior that costs next to nothing."""
    return GaussianFieldPrior(24, PHOTO, slope=2.5, std=0.5)


@pytest.fixture
def small(monkeypatch):
    """Frames of 48 x 56 pixels, as the examples read them, and a prior in closed form."""

    def read(*arguments, **more):
        frame = read_frame(*arguments, **more)
        return type(frame)(frame.rgb[:, :48, :56], frame.disparity[:48, :56])

    def take(module):
        monkeypatch.setattr(module, "read_frame", read)
        monkeypatch.setattr(module, "load_prior", lambda name: stand_in())
        tiled = module.TiledPrior
        monkeypatch.setattr(module, "TiledPrior", lambda prior, overlap: tiled(prior, 24, overlap=overlap))
        return module

    return take


def picture(path):
    with Image.open(path) as image:
        assert np.asarray(image).std() > 10
    assert [p.name for p in path.parent.iterdir()] == [path.name]


# the examples, two steps each


def test_numpy_with_lbfgs_runs(small, tmp_path):
    module = small(importlib.import_module("examples.own_renderer.numpy_lbfgs"))
    errors = module.main(out=tmp_path, steps=2, seed=0)
    assert set(errors) == {"blurred", "data alone", "smooth", "prior"}
    assert errors["smooth"] > errors["blurred"]
    assert all(np.isfinite(value) for value in errors.values())
    picture(tmp_path / "numpy_lbfgs.png")


def test_jax_runs(small, tmp_path):
    pytest.importorskip("jax", reason="needs JAX, from the extra examples-jax")
    module = small(importlib.import_module("examples.own_renderer.jax_renderer"))
    errors = module.main(out=tmp_path, steps=2, seed=0)
    assert errors["prior"] != errors["no prior"]
    assert all(0 < value < 0.5 for value in errors.values())
    picture(tmp_path / "jax_renderer.png")


@pytest.fixture(scope="module")
def mitsuba():
    """Skips where Mitsuba is not there, or ends, even the process, over the LLVM that it finds."""
    pytest.importorskip("mitsuba", reason="needs Mitsuba 3, from the extra examples-mitsuba")
    probe = "import mitsuba as mi; mi.set_variant('llvm_ad_rgb'); assert (mi.Float([1, 2]) + 1)[1] == 3"
    if subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=300, check=False).returncode:
        pytest.skip("Mitsuba's LLVM variant does not run here: set DRJIT_LIBLLVM_PATH")


@pytest.mark.usefixtures("mitsuba")
def test_mitsuba_runs(tmp_path):
    """In another process, as Dr.Jit may end it."""
    program = "import sys; from examples.own_renderer.mitsuba_scene import *; print(main(Path(sys.argv[1]), 2, 0))"
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    without, with_prior = re.findall(r": (\d+\.\d+)", done.stdout)
    assert without != with_prior
    picture(tmp_path / "mitsuba_scene.png")


@pytest.mark.parametrize("hold", [False, True], ids=["carried", "held"])
def test_depth_completion_runs(hold, small, tmp_path):
    small(complete_depth)
    table = complete_depth.main(
        ROOM, frame=0, share=0.05, prior="", steps=2, sigma=(0.1, 0.02), hold=hold, seed=0, out=tmp_path
    )
    assert set(table) == {"linear depth", "linear disparity", "Gaussian", "prior"}
    assert all(0 < relative < 0.5 for _, relative in table.values())
    picture(tmp_path / "complete_depth.png")


# their parts


def numerical(energy, x, along, step=1e-5):
    return (energy(x + step * along) - energy(x - step * along)) / (2 * step)


def test_the_gradients_for_lbfgs_are_those_of_the_values():
    module = importlib.import_module("examples.own_renderer.numpy_lbfgs")
    random = np.random.default_rng(0)
    x, along = random.uniform(-0.8, 0.8, (3, 9, 11)), random.standard_normal((3, 9, 11))
    seen = random.random((3, 9, 11))
    for term in (lambda x: module.data_term(x, seen), lambda x: module.smoothness(x, 3.0)):
        expected = numerical(lambda x, term=term: term(x)[0], x, along)
        np.testing.assert_allclose((term(x)[1] * along).sum(), expected, rtol=1e-6)


def test_the_hook_in_jax_adds_the_gradient_of_the_loss():
    jax = pytest.importorskip("jax", reason="needs JAX, from the extra examples-jax")
    module = importlib.import_module("examples.own_renderer.jax_renderer")
    loss = ScoreLoss(stand_in(), sigma=lambda step: 0.1 * (step + 1))
    hooked = module.hook(loss)
    x = np.random.default_rng(0).standard_normal((1, 4, 24, 24)).astype(np.float32)
    found = jax.jit(jax.grad(lambda x, step: (hooked(x, step) ** 3).sum()))(jax.numpy.asarray(x), 2)
    added = np.asarray(found) - 3 * x**2
    known = np.array([True, True, True, False]).reshape(1, 4, 1, 1)
    np.testing.assert_allclose(added, loss.gradient(x, step=2, known=known), rtol=1e-4, atol=1e-4)
    assert np.abs(added[:, 3]).max() > 1


def test_interpolation_is_exact_on_planes_and_keeps_what_is_known():
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    mask = torch.rand(12, 10) < 0.3
    mask[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    interpolate = complete_depth.interpolator(mask)
    assert_close(interpolate(2 * x - y + 1), 2 * x - y + 1)
    wild = torch.rand(12, 10)
    assert_close(interpolate(wild)[mask], wild[mask])


def test_the_gaussian_answer_is_the_posterior_mean():
    """Against a dense solve on the torus that it is a window of, for the slope that the field was drawn with."""
    size = 24
    field = GaussianFieldPrior(size * 3 // 2, ("disparity",), slope=5.0, std=0.1)
    truth = 0.4 + field.sample(1, generator=torch.Generator().manual_seed(0))[0, 0, :size, :size]
    mask = torch.rand(size, size, generator=torch.Generator().manual_seed(1)) < 0.2
    found = complete_depth.gaussian(torch.where(mask, truth, 0), mask)
    assert_close(found[mask], truth[mask], atol=1e-3, rtol=0)
    delta = torch.eye(field.power.numel(), dtype=torch.float64).reshape(-1, *field.power.shape)
    covariance = torch.fft.ifft2(field.power * torch.fft.fft2(delta)).real.flatten(1)
    window = torch.zeros(field.power.shape, dtype=torch.bool)
    window[:size, :size] = True
    inside = covariance[window.flatten()][:, window.flatten()] / 0.01
    at = mask.flatten()
    among = inside[at][:, at] + 1e-6 * torch.eye(int(at.sum()), dtype=torch.float64)
    y, one = truth[mask].double(), torch.ones(int(at.sum()), dtype=torch.float64)
    mean = (one @ torch.linalg.solve(among, y)) / (one @ torch.linalg.solve(among, one))
    expected = mean + inside[:, at] @ torch.linalg.solve(among, y - mean)
    assert_close(found.double(), expected.reshape(size, size), atol=1e-4, rtol=0)


@pytest.mark.parametrize("hold", [False, True], ids=["carried", "held"])
def test_known_depth_stays(hold):
    frame = read_frame()
    rgb, disparity = frame.rgb[:, :48, :56], frame.disparity[:48, :56]
    mask = torch.rand(disparity.shape) < 0.05
    prior = complete_depth.TiledPrior(stand_in(), 24)
    known = torch.where(mask, disparity, 0)
    found = complete_depth.with_prior(prior, rgb, known, mask, rounds=3, sigma=(0.1, 0.05), hold=hold)
    assert_close(found[mask], disparity[mask])
    assert (found - complete_depth.interpolator(mask)(known)).abs().max() > 1e-3


def test_errors_are_of_the_depth_that_was_not_given():
    disparity = torch.full((4, 4), 0.25)  # 2 m
    disparity[0, 0] = 0  # not measured
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1, 1] = True
    wrong = torch.full((4, 4), 0.2)  # 2.5 m
    wrong[1, 1] = 0.9
    frame = complete_depth.RGBDFrame(torch.zeros(3, 4, 4), disparity)
    assert complete_depth.errors(wrong, frame, mask) == pytest.approx((0.5, 0.25))


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="11 frames, counted from 0; there is no frame 11"):
        read_frame(index=11)
    with pytest.raises(ValueError, match="too few to interpolate. Raise --share"):
        complete_depth.main(ROOM, frame=0, share=1e-4, out=tmp_path)
