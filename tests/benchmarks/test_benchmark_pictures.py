"""The documentation's pictures: what is read back from a fit's folder, and what is drawn of samples."""

import numpy as np
import pytest
import torch

from benchmarks.pictures.crops import best_place, main, read_view
from benchmarks.pictures.samples import open_to_reader, visible_faces
from scorereg.fit.pictures import save
from scorereg.fit.views import View


def written(folder, error: torch.Tensor, shift: torch.Tensor):
    """A run's folder with one view of which depth is too far by `error`, a ratio, and color too bright by `shift`."""
    torch.manual_seed(0)
    photo, truth = 0.5 * torch.rand(*error.shape, 3), 1 + torch.rand(*error.shape)
    view = View("000.jpg", photo + shift[..., None], truth * (1 + error), photo, truth)
    (folder / "views").mkdir(parents=True)
    save(view.picture(0.5, 10.0), folder / "views" / "000.png")
    return folder


def test_errors_are_read_back_from_colors(tmp_path):
    error, shift = torch.linspace(0, 0.49, 24 * 32).reshape(24, 32), torch.full((24, 32), 0.25)
    shown = read_view(written(tmp_path, error, shift) / "views" / "000.png")
    np.testing.assert_allclose(shown.error, error.numpy(), atol=0.5 / 256)
    np.testing.assert_allclose(shown.squared, 0.25**2, atol=0.004)


def test_a_view_without_true_depth_is_refused(tmp_path):
    save(torch.rand(24, 3 * 32, 3), tmp_path / "000.png")
    with pytest.raises(ValueError, match="shows no depth error"):
        read_view(tmp_path / "000.png")


def test_the_place_is_where_the_last_fit_gains_most(tmp_path):
    worse = torch.zeros(24, 32)
    worse[10:16, 20:28] = 0.4
    none, same = torch.zeros(24, 32), torch.full((24, 32), 0.1)
    runs = [written(tmp_path / "a", none, same + worse), written(tmp_path / "b", none, same)]
    first, last = (read_view(run / "views" / "000.png") for run in runs)
    assert best_place(first, last, (8, 6)) == (20, 10, 8, 6)
    main(runs, view="000", box=None, size="8,6", labels=None, out=tmp_path / "crops.png")
    assert (tmp_path / "crops.png").stat().st_size > 1000


def test_faces_that_look_at_the_reader():
    block = np.zeros((4, 4, 4), bool)
    block[1:3, 2, 0] = True  # two voxels side by side; axes x, y up, z
    quads, colors = visible_faces(block)
    middles = {tuple(quad.mean(0)): bool((color == color[0]).all()) for quad, color in zip(quads, colors, strict=True)}
    on_border = {(1.5, 0.0, 2.5), (2.5, 0.0, 2.5)}  # x, z, y: grey
    assert middles == {(3.0, 0.5, 2.5): False, (1.5, 0.5, 3.0): False, (2.5, 0.5, 3.0): False} | dict.fromkeys(
        on_border, True
    )


def test_blocks_are_turned_so_that_an_empty_corner_is_nearest():
    block = np.ones((4, 4, 4), bool)
    block[:2, 2:, 2:] = False
    turned = open_to_reader(block)
    assert not turned[2:, 2:, :2].any()
    assert turned.sum() == block.sum()
