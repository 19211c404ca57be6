"""Rendering against loops and scenes whose picture is known in closed form."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg.cameras import Cameras, Rays, rotation_matrix
from scorereg.rendering import Render, proposal_loss, render, render_image, render_weights, resample

NEAR, FAR = 0.5, 8.0


def camera(*, turn=(0.0, 0.0, 0.0), origin=(0.0, 0.0, 0.0), width=6, height=5):
    rotation = rotation_matrix(torch.tensor(turn))
    pose = torch.cat([rotation, torch.tensor(origin)[:, None]], -1)[None]
    center = torch.tensor([[width / 2, height / 2]])
    return Cameras(pose, torch.full((1, 2), 4.0), center, width, height)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Body:
    """A field and its proposal: `density` where `inside(points)`, of one colour."""

    def __init__(self, inside, density=1e4, color=(1.0, 0.5, 0.25)):
        self.inside, self.value, self.color = inside, density, torch.tensor(color)

    def density(self, points):
        return self.value * self.inside(points).float()

    def __call__(self, points, directions):
        return self.density(points), self.color.expand(len(points), 3)


def show(body, rays, *, samples=64, proposal_samples=96, **more):
    return render(
        body,
        rays,
        proposal=body.density,
        near=NEAR,
        far=FAR,
        samples=samples,
        proposal_samples=proposal_samples,
        **more,
    )


# render_weights


def loop(tau):
    """NeRF, eq. 3, one sample at a time."""
    out = []
    for ray in tau.tolist():
        light = 1.0
        row = []
        for value in ray:
            row.append(light * (1 - math.exp(-value)))
            light *= math.exp(-value)
        out.append(row)
    return torch.tensor(out, dtype=torch.float64).reshape(tau.shape)


@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (5, 64), (0, 16)], ids=str)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0], ids="tau~{:g}".format)  # empty space, fog, wall
def test_weights_are_the_loop(shape, scale):
    tau = scale * torch.rand(shape)
    actual = render_weights(tau)
    assert_close(actual.double(), loop(tau.double()), rtol=1e-4, atol=2e-6)
    assert_close(actual.sum(-1), -torch.expm1(-tau.sum(-1)), rtol=1e-5, atol=2e-6)


def test_weights_in_double_precision():
    tau = torch.rand(4, 20, dtype=torch.float64)
    assert_close(render_weights(tau), loop(tau))


@pytest.mark.parametrize("wall", [1e3, 1e5, 1e8])
def test_fog_before_a_wall_is_not_forgotten(wall):
    """Opacity never passes 1: what the fog takes is missing on the wall."""
    tau = torch.tensor([[0.1, 0.02, wall, 0.0, wall]])
    assert_close(render_weights(tau).double(), loop(tau.double()), rtol=1e-5, atol=1e-6)


def test_weights_gradient():
    tau = torch.rand(2, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(render_weights, tau)
    assert torch.autograd.gradgradcheck(render_weights, tau)


def test_weights_have_any_number_of_axes():
    tau = torch.rand(2, 3, 4, 5)
    assert_close(render_weights(tau), render_weights(tau.reshape(24, 5)).reshape(tau.shape))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 20), min_size=1, max_size=12), st.data())
def test_splitting_a_sample_changes_nothing(taus, data):
    k = data.draw(st.integers(0, len(taus) - 1))
    share = data.draw(st.floats(0, 1))
    split = [*taus[:k], share * taus[k], (1 - share) * taus[k], *taus[k + 1 :]]
    whole = render_weights(torch.tensor(taus, dtype=torch.float64))
    parts = render_weights(torch.tensor(split, dtype=torch.float64))
    assert_close(parts[k] + parts[k + 1], whole[k])
    assert_close(parts.sum(), whole.sum())
    assert_close(torch.cat([parts[:k], parts[k + 2 :]]), torch.cat([whole[:k], whole[k + 1 :]]))


# scenes in closed form


def relative_spacing(intervals):
    """Largest relative error of a depth that is right to one of so many intervals, which are even in its logarithm."""
    return (FAR / NEAR) ** (1 / intervals) - 1


@pytest.mark.parametrize("generator", [None, 0, 1])
def test_opaque_plane_has_its_planar_depth_in_every_pixel(generator):
    """The distance along a corner's ray is a quarter longer: it would fail by far."""
    view = camera()
    rays = view.image_rays(0).flatten()
    assert rays.directions.norm(dim=-1).max() > 1.25
    shown = show(Body(lambda p: p[:, 2] > 2.0), rays, generator=None if generator is None else seeded(generator))
    assert_close(shown.depth, torch.full((30,), 2.0), rtol=relative_spacing(96), atol=0)
    assert_close(shown.opacity, torch.ones(30))
    assert_close(shown.rgb, torch.tensor([1.0, 0.5, 0.25]).expand(30, 3))


def test_depth_is_along_the_cameras_axis_wherever_it_looks():
    """A plane at right angles to the axis of a camera that is turned and moved."""
    turn, origin = (0.3, -0.5, 0.2), (1.0, 2.0, -3.0)
    axis = rotation_matrix(torch.tensor(turn))[:, 2]
    rays = camera(turn=turn, origin=origin).image_rays(0).flatten()
    shown = show(Body(lambda p: (p - torch.tensor(origin)) @ axis > 1.5), rays)
    assert_close(shown.depth, torch.full((30,), 1.5), rtol=relative_spacing(96), atol=0)


def test_opaque_ball():
    """Centre c on the axis: |t d - c| = r gives t = (z - sqrt(z^2 - |d|^2 (z^2 - r^2))) / |d|^2."""
    z, r = 3.0, 1.0
    rays = camera(width=12, height=12).image_rays(0).flatten()
    square = rays.directions.square().sum(-1)
    under = z**2 - square * (z**2 - r**2)
    hit, miss = under > 0.3, under < -0.3  # the rim itself is a matter of samples
    assert hit.sum() > 3
    assert miss.sum() > 20
    shown = show(Body(lambda p: (p - torch.tensor([0, 0, z])).norm(dim=-1) < r), rays)
    expected = (z - under.clamp_min(0).sqrt()) / square
    assert_close(shown.depth[hit], expected[hit], rtol=relative_spacing(96), atol=0)
    assert_close(shown.opacity[hit], torch.ones(int(hit.sum())))
    assert_close(shown.opacity[miss], torch.zeros(int(miss.sum())))


@pytest.mark.parametrize("samples", [1, 7, 32])
@pytest.mark.parametrize("density", [0.01, 0.3])
def test_even_fog_has_its_opacity_in_closed_form(samples, density):
    """`1 - exp(-density (far - near))`, whatever the samples: their lengths add up to the ray."""
    fog = Body(lambda p: torch.ones(len(p)), density)
    rays = camera().image_rays(0).flatten()
    shown = show(fog, rays, samples=samples, proposal_samples=16, anneal=0.0)
    expected = 1 - math.exp(-density * (FAR - NEAR))
    assert_close(shown.opacity, torch.full((30,), expected), rtol=1e-4, atol=0)
    assert_close(shown.rgb, expected * torch.tensor([1.0, 0.5, 0.25]).expand(30, 3), rtol=1e-4, atol=1e-6)


def test_half_transparent_plane_keeps_its_depth():
    """A sheet that lets half of the light through, with nothing behind: depth is divided by opacity."""
    rays = camera().image_rays(0).flatten()
    sheet = Body(lambda p: (p[:, 2] > 2.0) & (p[:, 2] < 2.3), math.log(2) / 0.3)
    shown = show(sheet, rays, samples=256)
    assert_close(shown.opacity, torch.full((30,), 0.5), rtol=0.1, atol=0)
    assert_close(shown.depth, torch.full((30,), 2.15), rtol=0.05, atol=0)
    assert_close(shown.depth * shown.opacity, (shown.weights * shown.points[..., 2]).sum(-1), rtol=1e-4, atol=1e-4)


def test_nothing_is_dark_and_far():
    shown = show(Body(lambda p: torch.zeros(len(p))), camera().image_rays(0).flatten())
    assert_close(shown.depth, torch.full((30,), FAR))
    assert_close(shown.opacity, torch.zeros(30))
    assert_close(shown.rgb, torch.zeros(30, 3))


def test_near_hides_what_lies_before_it_and_far_what_lies_behind():
    rays = camera().image_rays(0).flatten()
    for inside in (lambda p: p[:, 2] < NEAR, lambda p: p[:, 2] > FAR):
        assert_close(show(Body(inside), rays).opacity, torch.zeros(30))


def test_field_is_asked_at_the_rays_points_with_the_rays_directions():
    seen = {}

    def field(points, directions):
        seen.update(points=points, directions=directions)
        return torch.ones(len(points)), torch.rand(len(points), 3)

    rays = camera(turn=(0.2, 0.1, 0.0), origin=(0.0, 1.0, 0.0)).image_rays(0).flatten()
    shown = render(field, rays, proposal=lambda p: torch.ones(len(p)), near=NEAR, far=FAR, samples=5)
    points, directions = seen["points"].reshape(30, 5, 3), seen["directions"].reshape(30, 5, 3)
    assert_close(points, shown.points)
    assert_close(directions, rays.directions[:, None].expand(30, 5, 3))
    middle = (NEAR * (FAR / NEAR) ** shown.edges).unfold(1, 2, 1).mean(-1)
    assert_close(points, rays.origins[:, None] + middle[..., None] * rays.directions[:, None])


def test_samples_follow_the_proposal_more_and_more():
    rays, body = camera().image_rays(0).flatten(), Body(lambda p: p[:, 2] > 2.0)
    widths = []
    for anneal in (0.0, 0.5, 1.0):
        edges = show(body, rays, anneal=anneal).edges
        widths.append((edges[:, -1] - edges[:, 0]).mean().item())
    assert widths[0] > 0.98
    assert widths[0] >= widths[1] >= widths[2]
    shown = show(body, rays)
    wall = math.log(2.0 / NEAR) / math.log(FAR / NEAR)
    close = ((shown.edges - wall).abs() < 2 / 96).float().mean()
    assert close > 0.9


def test_render_is_differentiable_to_field_and_proposal():
    density = torch.tensor(0.3, dtype=torch.float32, requires_grad=True)
    share = torch.tensor(0.2, requires_grad=True)
    rays = camera().image_rays(0).flatten()
    shown = render(
        lambda p, d: (density.expand(len(p)), torch.full((len(p), 3), 0.5)),
        rays, proposal=lambda p: share.expand(len(p)), near=NEAR, far=FAR, generator=seeded(),
    )  # fmt: skip
    (slope,) = torch.autograd.grad(shown.opacity.mean(), density, retain_graph=True)
    length = FAR - NEAR
    assert_close(slope.item(), length * math.exp(-0.3 * length), rtol=0.05, atol=0)
    assert torch.autograd.grad(shown.rgb.sum(), share, allow_unused=True)[0] is None  # only its own loss moves it
    assert torch.autograd.grad(proposal_loss(shown), share)[0].abs() > 0


def test_generator_decides_the_samples():
    rays, body = camera().image_rays(0).flatten(), Body(lambda p: p[:, 2] > 2.0, 1.0)
    first, again, other, still = (show(body, rays, generator=g) for g in (seeded(1), seeded(1), seeded(2), None))
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(again, name)), name
    assert not torch.equal(first.edges, other.edges)
    assert torch.equal(show(body, rays).rgb, still.rgb)
    assert first.edges[0].sub(first.edges[1]).abs().max() > 0  # each ray has its own
    torch.manual_seed(5)
    show(body, rays, generator=seeded(3))
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), after)  # and nobody else's numbers are used


def test_some_of_the_rays():
    rays, body = camera().image_rays(0).flatten(), Body(lambda p: p[:, 2] > 2.0)
    shown = show(body, rays)
    for name, value in vars(shown[4:9]).items():
        assert torch.equal(value, getattr(shown, name)[4:9]), name


def test_no_rays():
    shown = show(Body(lambda p: p[:, 2] > 2.0), camera().image_rays(0).flatten()[:0], generator=seeded())
    assert shown.rgb.shape == (0, 3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"near": 0.0}, "got near=0, far=4"),
        ({"near": -1.0}, "got near=-1, far=4"),
        ({"near": 5.0}, "got near=5, far=4"),
        ({"far": 1.0}, "got near=1, far=1"),
        ({"near": float("nan")}, "got near=nan"),
        ({"samples": 0}, "samples=0, proposal_samples=48"),
        ({"proposal_samples": 0}, "samples=32, proposal_samples=0"),
    ],
    ids=str,
)
def test_mistakes_are_named(wrong, says):
    body = Body(lambda p: p[:, 2] > 2.0)
    with pytest.raises(ValueError, match=rf"render needs 0 < near < far and at least one sample, .*{says}"):
        render(body, camera().image_rays(0).flatten(), proposal=body.density, **{"near": 1.0, "far": 4.0, **wrong})


# render_image


@pytest.mark.parametrize("chunk", [1, 7, 30, 8192])
def test_an_image_in_pieces_is_the_image(chunk):
    view = camera(turn=(0.1, 0.2, 0.0))
    body = Body(lambda p: p.norm(dim=-1) > 2.0, 1.5)
    rgb, depth, opacity = render_image(
        body,
        view.image_rays(0),
        proposal=body.density,
        near=NEAR,
        far=FAR,
        samples=20,
        proposal_samples=30,
        chunk=chunk,
    )
    whole = show(body, view.image_rays(0).flatten(), samples=20, proposal_samples=30)
    assert_close(rgb, whole.rgb.reshape(5, 6, 3))
    assert_close(depth, whole.depth.reshape(5, 6))
    assert_close(opacity, whole.opacity.reshape(5, 6))


def test_an_image_has_no_graph():
    density = torch.tensor(0.3, requires_grad=True)
    rgb, *_ = render_image(
        lambda p, d: (density.expand(len(p)), torch.full((len(p), 3), 0.5)),
        camera().image_rays(0), proposal=lambda p: torch.ones(len(p)), near=NEAR, far=FAR,
    )  # fmt: skip
    assert not rgb.requires_grad


# resample


def test_even_weights_give_even_edges():
    edges = torch.linspace(0, 1, 9).expand(3, 9)
    for count in (1, 4, 8, 50):
        new = resample(edges, torch.full((3, 8), 0.125), count)
        assert_close(new, torch.linspace(0, 1, count + 1).expand(3, count + 1), rtol=0, atol=1e-6)


def test_zero_weights_count_as_even_ones():
    edges = torch.linspace(0, 1, 9).expand(2, 9)
    assert_close(resample(edges, torch.zeros(2, 8), 8), edges, rtol=0, atol=1e-6)


def mixed(weights):
    """What the intervals' shares are with the even share of a hundredth of the sum, and of one, mixed in."""
    m = len(weights)
    raised = [w + 0.01 / m + 0.01 * sum(weights) / m for w in weights]
    return torch.tensor([value / sum(raised) for value in raised])


@pytest.mark.parametrize("generator", [None, 3])
def test_samples_follow_the_histogram(generator):
    edges = torch.tensor([0.0, 0.1, 0.3, 0.35, 0.8, 1.0])
    weights = [0.1, 0.0, 0.6, 0.2, 0.0]
    count = 2000
    new = resample(
        edges[None], torch.tensor([weights]), count, generator=None if generator is None else seeded(generator)
    )
    middle = (new[0, 1:] + new[0, :-1]) / 2
    share = torch.histogram(middle, bins=edges).hist / count
    assert_close(share, mixed(weights), rtol=0, atol=3 / count)
    mean = (mixed(weights) * (edges[1:] + edges[:-1]) / 2).sum()
    assert_close(middle.mean(), mean, rtol=0, atol=2e-3)
    inside = middle[(middle > 0.3) & (middle < 0.35)]
    assert_close(inside.quantile(0.25), torch.tensor(0.3125), rtol=0, atol=1e-4)  # even within an interval


def test_jittered_samples_are_right_on_average():
    """One sample a ray, over many rays: the whole histogram."""
    edges = torch.linspace(0, 1, 6)
    weights = [0.5, 0.0, 0.3, 0.2, 0.0]
    rays = 20_000
    new = resample(edges.expand(rays, 6), torch.tensor([weights]).expand(rays, 5), 1, generator=seeded())
    middle = new.mean(1)
    share = torch.histogram(middle, bins=edges).hist / rays
    assert_close(share, mixed(weights), rtol=0, atol=0.015)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from([0.0, 1e-8, 1e-3, 0.5, 1.0, 1e4]), min_size=1, max_size=9),
    st.integers(1, 20),
    st.one_of(st.none(), st.integers(0, 1000)),
)
def test_new_edges_rise_and_stay_between_the_old_ends(weights, count, seed):
    generator = None if seed is None else seeded(seed)
    old = torch.rand(3, len(weights) + 1, generator=seeded(seed or 0)).sort(-1).values
    new = resample(old, torch.tensor([weights]).expand(3, -1), count, generator=generator)
    assert new.shape == (3, count + 1)
    assert (new.diff(dim=-1) >= -1e-6).all()
    assert (new[:, 0] >= old[:, 0] - 1e-6).all()
    assert (new[:, -1] <= old[:, -1] + 1e-6).all()


def test_resample_has_no_gradient():
    weights = torch.rand(2, 4, requires_grad=True)
    edges = torch.linspace(0, 1, 5).expand(2, 5)
    assert not resample(edges, weights, 3).requires_grad


# proposal_loss


def histograms(weights, edges, proposal_weights, proposal_edges):
    weights, edges = torch.tensor([weights]), torch.tensor([edges])
    proposal_weights = torch.tensor([proposal_weights], requires_grad=True)
    points = torch.zeros(1, weights.shape[1], 3)
    one = torch.ones(1)
    return Render(
        torch.zeros(1, 3),
        one,
        one,
        weights.requires_grad_(),
        edges,
        points,
        proposal_weights,
        torch.tensor([proposal_edges]),
    )


@pytest.mark.parametrize(
    ("weights", "edges"),
    [
        ([0.1, 0.4, 0.3], [0.0, 0.25, 0.5, 1.0]),  # the proposal itself
        ([0.1, 0.4], [0.0, 0.25, 0.5]),
        ([0.4], [0.3, 0.4]),  # anywhere in an interval there may be all of its weight
        ([0.2, 0.2, 0.3], [0.3, 0.35, 0.45, 0.7]),
        ([0.5], [0.2, 0.3]),  # across an edge, of both together
        ([0.0, 0.0], [0.0, 0.5, 1.0]),
    ],
    ids=str,
)
def test_a_proposal_that_covers_costs_nothing(weights, edges):
    shown = histograms(weights, edges, [0.1, 0.4, 0.3], [0.0, 0.25, 0.5, 1.0])
    assert_close(proposal_loss(shown).item(), 0.0, rtol=0, atol=1e-10)


def test_a_proposal_that_does_not_cover_costs_by_the_shortfall():
    """mip-NeRF 360, eq. 13: max(0, w - bound)^2 / (w + 1e-4), for each of the field's intervals."""
    shown = histograms([0.3, 0.6], [0.1, 0.4, 0.6], [0.1, 0.1, 0.5], [0.0, 0.25, 0.5, 1.0])
    # the first lies in the proposal's first two, the second in its last two: bounds 0.2 and 0.6
    assert_close(proposal_loss(shown).item(), 0.1**2 / 0.3001, rtol=1e-5, atol=0)
    (grad,) = torch.autograd.grad(proposal_loss(shown), shown.proposal_weights)
    slope = -2 * 0.1 / 0.3001
    assert_close(grad, torch.tensor([[slope, slope, 0.0]]), rtol=1e-4, atol=1e-6)


def test_proposal_loss_is_a_mean_over_rays_and_moves_the_proposal_alone():
    one = histograms([0.5], [0.0, 0.5], [0.1, 0.1], [0.0, 0.5, 1.0])
    loss = proposal_loss(one)
    loss.backward()
    assert one.proposal_weights.grad is not None
    assert one.weights.grad is None
    twice = Render(**{name: torch.cat([value, value]) for name, value in vars(one).items()})
    assert_close(proposal_loss(twice), loss.detach())


@pytest.mark.parametrize("generator", [None, 0])
def test_proposal_loss_of_a_render_that_agrees_is_small(generator):
    """A proposal with the field's own density covers it, but for what lies across its edges."""
    body = Body(lambda p: p[:, 2] > 2.0)
    rays = camera().image_rays(0).flatten()
    shown = show(body, rays, generator=None if generator is None else seeded(generator))
    assert proposal_loss(shown) < 0.01
    blind = render(
        body,
        rays,
        proposal=lambda p: torch.zeros(len(p)),
        near=NEAR,
        far=FAR,
        generator=None if generator is None else seeded(generator),
    )
    assert proposal_loss(blind) > 0.5


def test_a_proposal_learns_where_the_field_is():
    """By its own loss alone, from even weights to the wall."""
    table = torch.zeros(32, requires_grad=True)
    body = Body(lambda p: p[:, 2] > 2.0)
    rays = Rays(torch.zeros(64, 3), torch.tensor([0.0, 0, 1]).expand(64, 3))
    optimizer = torch.optim.Adam([table], lr=0.2)

    def proposal(points):
        place = (points[:, 2] / NEAR).log() / math.log(FAR / NEAR) * 32
        return table[place.long().clamp(0, 31)].exp()

    generator = seeded()
    for _ in range(60):
        shown = render(body, rays, proposal=proposal, near=NEAR, far=FAR, generator=generator)
        optimizer.zero_grad()
        proposal_loss(shown).backward()
        optimizer.step()
    weight = shown.proposal_weights.detach().mean(0)
    wall = math.log(2.0 / NEAR) / math.log(FAR / NEAR)
    middle = shown.proposal_edges.unfold(1, 2, 1).mean((0, 2))
    assert weight[(middle - wall).abs() < 0.08].sum() > 0.7
