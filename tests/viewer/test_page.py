"""The page in a browser, a fit that is watched, and what is refused with one line."""

import contextlib
import socket
import sys
import time

import numpy as np
import pytest
import torch

from benchmarks.pictures.chromium import PROGRAM, opened
from scorereg.cli import main
from scorereg.fit import Recipe, fit_scene, photo_terms
from scorereg.rendering import MLP
from tests.viewer.test_drawing import until
from tests.viewer.walls import Wall, scene

pytest.importorskip("viser", reason="pip install 'scorereg[view]'")
RECIPE = Recipe(steps=4, rays=16, samples=4, proposal_samples=6)


@pytest.fixture
def page():
    from scorereg.viewer import Page

    made = Page({"red": Wall((0.8, 0.1, 0.1)), "blue": Wall((0.1, 0.1, 0.8))}, port=0)
    yield made
    made.stop()


def shares(picture):
    """How much of the page, without the panel at its right, is red and blue; and how many colours it has."""
    left = picture[:, :300].astype(int)
    red, blue = left[..., 0], left[..., 2]
    many = len(np.unique(left.reshape(-1, 3), axis=0))
    return (red > 2 * blue + 40).mean(), (blue > 2 * red + 40).mean(), many


def seen(browser, wanted, seconds=20):
    """Wait until the page looks as wanted."""
    end = time.monotonic() + seconds
    while True:
        found = shares(browser.picture())
        if wanted(*found):
            return
        assert time.monotonic() < end, found
        time.sleep(0.3)


@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
def test_the_page_shows_the_field_and_a_slider_changes_the_picture(page):
    """A dropdown chooses the fit; the slider, moved in the browser by its key, divides the picture between two."""
    with opened(page.address, (640, 400)) as browser:
        seen(browser, lambda red, blue, many: red > 0.5 > 0.01 > blue and many > 5)
        page.controls.photos.value = False
        page.controls.fit.value = "blue"
        seen(browser, lambda red, blue, many: blue > 0.6 > 0.01 > red)
        page.controls.beside.value = "red"  # on the right half, which the panel covers
        browser.evaluate("document.querySelectorAll('[role=slider]')[0].focus()")
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="Home", code="Home", windowsVirtualKeyCode=36)
        seen(browser, lambda red, blue, many: red > 0.6 > 0.01 > blue)
        assert page.controls.divide.value == 0


def test_nothing_is_shared_with_the_world_and_the_address_is_of_this_machine(page, monkeypatch):
    tunnels = []
    monkeypatch.setattr("viser._viser.ViserTunnel", lambda *given, **more: tunnels.append(given))
    with contextlib.suppress(Exception):
        page.server.request_share_url()
    assert tunnels == [], "which any browser may ask for"
    assert page.address.startswith("http://127.0.0.1:")
    assert page.server.get_host() == "127.0.0.1"


def test_a_port_that_is_taken_is_one_line(page):
    from scorereg.viewer import Page

    port = page.server.get_port()
    with pytest.raises(OSError, match=rf"port {port} is taken, perhaps by another viewer\. .* --port {port + 1}"):
        Page({"red": Wall((1.0, 0.0, 0.0))}, port=port)
    with pytest.raises(OSError, match=r"--host no\.such\.host\.invalid is no address of this machine"):
        Page({"red": Wall((1.0, 0.0, 0.0))}, host="no.such.host.invalid", port=0)
    with pytest.raises(ValueError, match=r"--port must be from 1 to 65535, or 0 .* but is 70000"):
        Page({"red": Wall((1.0, 0.0, 0.0))}, port=70000)


def test_frames_are_rendered_where_the_photos_are_gone(monkeypatch):
    from scorereg.viewer import Page, page

    given = []
    monkeypatch.setattr(page, "add_cameras", lambda server, scene, pictures, views, **_: given.append(pictures) or [])
    wall = Wall((0.2, 0.4, 0.6))
    wall.scene = scene(photos=False)
    made = Page({"wall": wall}, port=0)
    until(lambda: given)
    made.stop()
    assert given[0].isfinite().all()
    assert torch.allclose(given[0], wall.color.expand_as(given[0]))


def fit(**more):
    given = scene()
    return fit_scene(given, field=MLP(*given.ball(), layers=2, width=16), terms=photo_terms(), recipe=RECIPE, **more)


def test_a_watched_fit_is_the_same_to_the_bit(monkeypatch):
    """With a browser that is open all the time, and so a copy and pictures at every step."""
    from scorereg.viewer import LiveView, Page

    class Camera:
        wxyz, position, fov, aspect = (1.0, 0, 0, 0), (0.0, 0, 0), 1.0, 1.5

    class Client:
        client_id, camera = 7, Camera()

    drawn = []
    monkeypatch.setattr(Page, "_show", lambda self, client, camera, drawing, began: drawn.append(drawing))
    said = []
    live = LiveView(port=0, every=0.0, say=said.append)

    def begin(run, begin=live.begin):
        begin(run)
        monkeypatch.setattr(live.page.server, "get_clients", lambda: {7: Client()})

    live.begin = begin
    watched, plain = fit(report=live), fit()
    until(lambda: drawn and drawn[-1].done)
    for one, two in zip(watched.field.state_dict().values(), plain.field.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert said == [f"the fit is shown at {live.address}"]
    shown = live.page.fits["wall"]
    rays = plain.scene.cameras.image_rays(0)
    assert torch.equal(shown.image(rays)[0], plain.image(rays)[0]), "its last state is shown"
    live.stop()


def test_no_viser_is_one_line(monkeypatch):
    from scorereg.viewer import LiveView

    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ValueError, match=r"the viewer needs viser, .*: pip install 'scorereg\[view\]'"):
        LiveView(port=0)


def command(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["scorereg", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    told = capsys.readouterr()
    return stop.value.code, told.out, told.err.strip().splitlines()[-1]


def test_what_cannot_be_viewed_is_one_line_of_the_command(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    for name in ("none", "empty"):
        code, _, line = command(monkeypatch, capsys, "view", tmp_path / name, "--port", 0)
        assert code == 2
        assert str(tmp_path / name) in line
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, line = command(monkeypatch, capsys, "view", tmp_path, "--port", taken.getsockname()[1])
    assert (code, "is taken" in line) == (2, True)
    code, _, line = command(monkeypatch, capsys, "fit", tmp_path, "--port", 9000)
    assert (code, line) == (
        2,
        "scorereg: --port and --host are of the page, so they mean nothing without --view. Add it.",
    )


def test_the_command_shows_runs_of_one_scene(tmp_path, monkeypatch, capsys):
    from scorereg.cli import view

    fit().save(tmp_path / "a")
    given = scene("other")
    other = fit_scene(given, field=MLP(*given.ball(), layers=2, width=16), terms=photo_terms(), recipe=RECIPE)
    other.save(tmp_path / "b")
    monkeypatch.setattr(view.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
    words = ["--port", 0, "--prior", "none", "--device", "cpu"]
    code, out, last = command(monkeypatch, capsys, "view", tmp_path / "a", *words)
    assert (code, last) == (0, "closed")
    assert out.startswith("shown at http://127.0.0.1:")
    code, _, last = command(monkeypatch, capsys, "view", tmp_path / "a", tmp_path / "b", *words)
    assert code == 2
    assert "a page shows fits of one scene, but these are of several: a of wall, b of other" in last
    code, _, last = command(monkeypatch, capsys, "view", tmp_path / "a", tmp_path / "a", *words)
    assert (code, "is given twice. Give each run once." in last) == (2, True)
