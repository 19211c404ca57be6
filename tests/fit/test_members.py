"""Ensembles: each member is the fit of its seed, renders are their means, the spread is written and kept."""

import json

import pytest
import torch

from scorereg.cameras import Cameras
from scorereg.export import render_to_folder, shots_of
from scorereg.fit import Fit, Recipe, Term, fit_scene, photo_terms
from scorereg.fit.folder import fit_to_folder, make_run_folder
from scorereg.rendering import MLP, Ensemble, mean_image, spread_of
from scorereg.scenes import Scene

RECIPE = Recipe(steps=6, rays=16, samples=4, proposal_samples=6)


def scene(test=()):
    pose = torch.eye(3, 4).repeat(3, 1, 1)
    pose[:, 0, 3] = torch.tensor([0.0, 0.3, 0.1])
    cameras = Cameras(pose, torch.full((3, 2), 8.0), torch.full((3, 2), 4.0), 8, 8)
    images = torch.rand(3, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    depth = torch.linspace(1.5, 4, 3 * 64).reshape(3, 8, 8)
    return Scene("wall", images, cameras, depth, (0, 1), test, 1.0, 5.0, 1.0, True, ("0.png", "1.png", "2.png"))


def field(seed):
    center, radius = scene().ball()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MLP(center, radius, layers=2, width=16)


def fit(seed=0, members=2, **settings) -> Fit:
    fields = [field(seed + k) for k in range(members)]
    given = fields if members > 1 else fields[0]
    settings = {"terms": photo_terms(), "recipe": RECIPE, "seed": seed, "members": members} | settings
    return fit_scene(scene(), field=given, **settings)


class Memory(Term):
    """A term with a state from its beginning, and a setting that is shared."""

    name = "memory"

    def __init__(self, shared):
        self.shared = shared
        self._sum = torch.zeros(())

    def __call__(self, batch):
        self._sum += batch.render.depth.detach().mean()
        return self._sum * batch.render.opacity.mean() * 1e-2

    def state_dict(self):
        return {"sum": self._sum.clone()}

    def load_state_dict(self, state):
        self._sum.copy_(state["sum"])


def weights(module):
    return torch.cat([value.flatten() for value in module.state_dict().values()])


def test_members_are_the_fits_of_their_seeds():
    both = fit(members=2, terms=[*photo_terms(), Memory(object())])
    for k, member in enumerate(both.members):
        alone = fit(seed=k, members=1, terms=[*photo_terms(), Memory(object())])
        assert torch.equal(weights(member.field), weights(alone.field))
        assert torch.equal(weights(member.proposal), weights(alone.proposal))
        assert member.seed == k
    assert not torch.equal(weights(both.members[0].field), weights(both.members[1].field))


def test_image_is_the_mean_and_depth_that_of_the_mean_weights():
    both = fit()
    rays = both.scene.cameras.image_rays(2)
    rgb, depth, opacity = both.image(rays)
    one, two = (member.image(rays) for member in both.members)
    torch.testing.assert_close(rgb, (one[0] + two[0]) / 2)
    torch.testing.assert_close(opacity, (one[2] + two[2]) / 2)
    torch.testing.assert_close(depth, (one[2] * one[1] + two[2] * two[1]) / (one[2] + two[2]), rtol=1e-3, atol=0)


def test_spread_by_hand():
    def image(rgb, depth, opacity=1.0):
        return torch.tensor([[rgb]]), torch.tensor([[depth]]), torch.tensor([[opacity]])

    color, depth = spread_of([image([0.0, 0.2, 0.5], 1.0), image([0.2, 0.2, 0.5], 2.0)])
    assert color.item() == pytest.approx((0.02 / 3) ** 0.5)  # variance .1^2 + .1^2 of one of three channels
    assert depth.item() == pytest.approx(0.5**0.5 * torch.tensor(2.0).log().item())
    mean = mean_image([image([0.0, 0.0, 0.0], 1.0, 0.9), image([1.0, 1.0, 1.0], 4.0, 0.1)])
    assert mean[1].item() == pytest.approx(1.3, rel=1e-4)  # and not 2.5
    with pytest.raises(ValueError, match="--members 4"):
        spread_of([image([0.0, 0.0, 0.0], 1.0)])


def test_a_single_fit_has_no_spread():
    alone = fit(members=1)
    assert alone.image(alone.scene.cameras.image_rays(0), spread=True)[3:] == (None, None)
    assert alone.members == (alone,)


def test_resumed_fit_is_equal_to_the_bit(tmp_path):
    terms = lambda: [*photo_terms(), Memory(object())]  # noqa: E731

    def stop(values):
        if values["step"] == 3:
            raise KeyboardInterrupt

    import scorereg.fit.checkpoint as checkpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            fit(terms=terms(), save=tmp_path / "fit.pt", report=stop)
    whole, resumed = fit(terms=terms()), fit(terms=terms(), save=tmp_path / "fit.pt", resume=True)
    assert torch.equal(weights(whole.field), weights(resumed.field))
    with pytest.raises(ValueError, match="members was 2, now 3"):
        fit(members=3, terms=terms(), save=tmp_path / "fit.pt", resume=True)


def test_run_folder_keeps_members_and_tells_their_spread(tmp_path):
    fields = [field(k) for k in range(2)]
    make_run_folder(tmp_path)
    metrics, _ = fit_to_folder(
        scene(test=(2,)), tmp_path, terms=photo_terms(), recipe=RECIPE, facts={"regularize": "none"}, field=fields,
        members=2,
    )  # fmt: skip
    assert metrics["members"] == 2
    assert -1 <= metrics["color_spread_rank"] <= 1
    assert metrics["depth_spread_ause"] >= 0
    assert "depth_spread_rank" in json.loads((tmp_path / "metrics.json").read_text())["views"][0]
    loaded = Fit.load(tmp_path)
    rays = loaded.scene.cameras.image_rays(2)
    assert isinstance(loaded.field, Ensemble)
    assert len(loaded.members) == 2
    assert not torch.equal(loaded.members[0].image(rays)[0], loaded.members[1].image(rays)[0])
    render_to_folder(loaded, shots_of(loaded.scene, "test", None), tmp_path / "out", what=["uncertainty"])
    assert len(list((tmp_path / "out" / "uncertainty").iterdir())) == 2


@pytest.mark.parametrize("members", [0, 3])
def test_members_without_fields_are_refused(members):
    with pytest.raises(ValueError, match="at least one member|a list of as many"):
        fit_scene(scene(), terms=photo_terms(), recipe=RECIPE, field=[field(0), field(1)], members=members)


def test_one_field_cannot_be_two_members():
    shared = field(0)
    with pytest.raises(ValueError, match="of its own for each"):
        fit_scene(scene(), terms=photo_terms(), recipe=RECIPE, field=[shared, shared], members=2)


def test_a_run_of_one_member_has_no_uncertainty(tmp_path):
    alone = fit(members=1)
    with pytest.raises(ValueError, match="--members 4"):
        render_to_folder(alone, shots_of(alone.scene, "train", None), tmp_path, what=["uncertainty"])


def test_ensemble_as_a_field_weighs_colors_by_density():
    class Plain(torch.nn.Module):
        def __init__(self, density, shade):
            super().__init__()
            self.density, self.shade = density, shade

        def forward(self, points, directions):
            return torch.full((len(points),), self.density), torch.full((len(points), 3), self.shade)

    density, rgb = Ensemble([Plain(1.0, 0.0), Plain(3.0, 1.0)])(torch.zeros(2, 3), torch.zeros(2, 3))
    assert density.tolist() == [2.0, 2.0]
    torch.testing.assert_close(rgb, torch.full((2, 3), 0.75))
