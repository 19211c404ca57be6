"""Splats in the layout of 3DGS, read back by plyfile."""

import numpy as np
import pytest
import torch
from small_scenes import ball_fit

from scorereg.export import write_splats

plyfile = pytest.importorskip("plyfile")
SCENE = ball_fit(scale=2.0, offset=(10.0, -20.0, 3.0)).scene


def splats(count=5, **changes):
    draw = torch.Generator().manual_seed(0)
    given = {
        "means": torch.randn(count, 3, generator=draw), "scales": 0.1 + torch.rand(count, 3, generator=draw),
        "quaternions": torch.randn(count, 4, generator=draw), "opacities": torch.linspace(0, 1, count),
        "colors": torch.rand(count, 3, generator=draw),
    }  # fmt: skip
    return given | changes


def columns(vertex, *names):
    return np.stack([vertex[name] for name in names], 1)


def test_the_layout_is_that_of_3dgs(tmp_path):
    given = splats()
    write_splats(tmp_path / "s.ply", SCENE, **given)
    vertex = plyfile.PlyData.read(tmp_path / "s.ply")["vertex"]
    names = [*"xyz", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(45)), "opacity"]
    names += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert [p.name for p in vertex.properties] == names
    assert {p.val_dtype for p in vertex.properties} == {"f4"}
    means = given["means"].numpy() / 2 + np.array([10, -20, 3])
    np.testing.assert_allclose(columns(vertex, *"xyz"), means, atol=1e-5)
    np.testing.assert_allclose(np.exp(columns(vertex, "scale_0", "scale_1", "scale_2")), given["scales"] / 2, rtol=1e-5)
    shown = 1 / (1 + np.exp(-vertex["opacity"].astype(float)))
    np.testing.assert_allclose(shown, given["opacities"], atol=2e-6)
    colors = 0.5 + 0.28209479177387814 * columns(vertex, "f_dc_0", "f_dc_1", "f_dc_2")  # as 3DGS evaluates degree 0
    np.testing.assert_allclose(colors, given["colors"], atol=1e-6)
    turn = columns(vertex, "rot_0", "rot_1", "rot_2", "rot_3")
    np.testing.assert_allclose(np.linalg.norm(turn, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        (turn * given["quaternions"].numpy()).sum(1), given["quaternions"].norm(dim=1), rtol=1e-5
    )
    assert not columns(vertex, "nx", "f_rest_0", "f_rest_44").any()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"means": torch.full((5, 3), torch.nan)}, "not finite"),
        ({"scales": torch.zeros(5, 3)}, "scales and quaternions of splats must be above 0"),
        ({"quaternions": torch.zeros(5, 4)}, "scales and quaternions of splats must be above 0"),
        ({"opacities": torch.full((5,), 1.1)}, r"opacities in \[0, 1\]"),
    ],
)
def test_what_is_no_splat_is_refused_and_nothing_is_written(changes, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        write_splats(tmp_path / "s.ply", SCENE, **splats(**changes))
    assert not list(tmp_path.iterdir())
