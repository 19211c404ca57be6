"""A fit of a dark wall before an unknown background."""

from dataclasses import replace

from test_fit import TINY, small_field, wall_scene

from scorereg import fit_scene
from scorereg.fit import photo_terms


def test_a_dark_wall_is_no_hole():
    scene = wall_scene()
    dark = replace(scene, images=scene.images * 0.08)
    recipe = replace(TINY, steps=120, rays=192, lr=4e-2, lr_network=2e-2)
    fit = fit_scene(dark, field=small_field(view_degree=0), terms=photo_terms(), recipe=recipe, seed=0)
    rgb, _, opacity = fit.image(dark.cameras.image_rays(3))
    assert opacity.mean() > 0.9
    assert (rgb - dark.images[3]).abs().mean() < 0.05
    assert fit.history[-1]["background"] < 1e-3
