"""The web page: fields rendered from a browser's camera, photos and points in space, fits to choose from."""

import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from scorereg.cameras import Cameras
from scorereg.fit.pictures import as_bytes
from scorereg.viewer.camera import browser_camera, fov_of, is_camera, quaternion_of, up_of
from scorereg.viewer.canvas import Drawing, Wanted
from scorereg.viewer.controls import Controls, add_controls, on_change
from scorereg.viewer.layers import LAYERS, Maps
from scorereg.viewer.loop import RenderLoop
from scorereg.viewer.pace import Pace
from scorereg.viewer.parts import add_cameras, add_points, start_of
from scorereg.viewer.score import PriorLens
from scorereg.viewer.server import close_server, open_server

__all__ = ["Page"]

_LONGEST = 384  # pixels of a full picture at first, if the photos are not smaller
_THUMB = 96


class Page:
    """A page that shows one fit or several of one scene.

    Args:
        fits: The fits by name, each with `image(rays)` and a `scene`, as `Fit`; frames and view are of the first.
        host: Address to listen at.
        port: The port; 0 takes any that is free.
        prior: Prior over RGB-D patches whose score can be looked at; None for none.
        threads: Numbers of threads to render with, of which the fastest is taken; empty leaves torch's as it is.
        title: Title of the page.

    Raises:
        ValueError: If viser is not installed, or the prior is of another kind.
        OSError: If the port is taken.
    """

    def __init__(
        self,
        fits: dict[str, Any],
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        prior: Any = None,
        threads: Sequence[int] = (),
        title: str = "scorereg",
    ) -> None:
        # of a browser that is closed while its picture is drawn
        warnings.filterwarnings("ignore", r"Queued a \w+ on a closed connection")
        self.fits = dict(fits)
        self.scene = next(iter(fits.values())).scene
        self.lens = None if prior is None else PriorLens(prior)
        self.server, self.address = open_server(host, port)
        self.loop = RenderLoop(Pace(threads))
        self._last: dict[int, tuple[Cameras, Drawing]] = {}
        self._went = -1.0  # when a photo's frame was clicked, which is no click on a place
        self._points: Any = None
        self.frames: list[Any] = []
        longest = min(max(self.scene.cameras.width, self.scene.cameras.height), _LONGEST)
        sigmas = self.lens.sigmas if self.lens else None
        several = any(len(fit.members) > 1 for fit in fits.values())
        self.controls: Controls = add_controls(
            self.server, list(fits), title=title, longest=longest, sigmas=sigmas, members=several
        )
        self._set_view()
        self._connect()
        self.loop.submit(self._add_frames)
        self._renew_points()

    @property
    def depth(self) -> float:
        """Typical depth of the scene in metres."""
        return (self.scene.near * self.scene.far) ** 0.5

    def replace(self, name: str, fit: Any, *, points: bool = False) -> None:
        """Show another state of a fit.

        Args:
            name: Its name.
            fit: The state.
            points: Whether to compute its points anew.
        """
        self.fits[name] = fit
        for client in self.server.get_clients().values():
            self._draw(client, again=True)
        if points:
            self._renew_points()

    def redraw(self) -> None:
        """Render anew for all browsers."""
        for client in self.server.get_clients().values():
            self._draw(client)

    def waits(self) -> bool:
        """Whether a browser is open, and none still waits for its picture to be sharp."""
        clients = self.server.get_clients()
        return bool(clients) and all(self._last[key][1].done for key in clients if key in self._last)

    def stop(self) -> None:
        """Close the page."""
        self.loop.stop()
        close_server(self.server)

    def _set_view(self) -> None:
        scene = self.scene.cameras.to("cpu")
        train = scene[self.scene.train]
        position, target = start_of(train, self.depth)
        up = up_of(train).numpy()
        self.server.scene.set_up_direction(up)
        start = self.server.initial_camera
        start.position, start.look_at, start.up = position.numpy(), target.numpy(), up
        start.fov, start.near = min(max(fov_of(train), 0.35), 1.4), 0.01 * self.depth

    def _connect(self) -> None:
        controls = self.controls
        on_change([controls.fit, controls.beside, controls.divide, controls.longest, controls.field], self.redraw)
        on_change([controls.layer], self._repaint)
        on_change([controls.photos, controls.points], self._show_parts)
        on_change([controls.fit], self._renew_points)
        self.server.on_client_connect(self._welcome)
        self.server.on_client_disconnect(self._leave)
        if self.lens:
            controls.middle.on_click(lambda event: self._score(event.client, (0.5, 0.5)))
            self.server.scene.on_click()(lambda event: self._clicked(event.client, event.screen_pos))

    def _welcome(self, client: Any) -> None:
        client.camera.on_update(lambda _: self._draw(client))
        self.controls.status.content = "drawing the first picture ..."
        self._draw(client)
        if self.lens and not self.controls.picture.visible:
            self._score(client, (0.5, 0.5), first=True)

    def _leave(self, client: Any) -> None:
        self.loop.forget(client.client_id)
        self._last.pop(client.client_id, None)

    def _draw(self, client: Any, *, again: bool = False) -> None:
        """Ask for a browser's picture; `again` where only the field has changed, so that the last one may stay."""
        if not self.controls.field.value:
            self.loop.forget(client.client_id)
            client.scene.set_background_image(None)
            self.controls.status.content = ""
            return
        name, beside = self.controls.names
        if not is_camera(client.camera):
            return
        camera = browser_camera(client.camera, self.controls.pixels)
        base = self._same(client, camera) if again else None
        wanted = Wanted(camera, self.fits[name], self.fits[beside] if beside else None, self.controls.right, base)
        began = time.monotonic()
        self.loop.want(client.client_id, wanted, lambda drawing: self._show(client, camera, drawing, began))

    def _same(self, client: Any, camera: Cameras) -> Maps | None:
        """The last sharp picture of a browser, if it is of the same camera."""
        before, drawing = self._last.get(client.client_id, (None, None))
        if before is None or drawing is None or not drawing.done or camera.width != before.width:
            return None
        same = torch.equal(camera.pose, before.pose) and torch.equal(camera.focal, before.focal)
        return drawing.maps if same and camera.height == before.height else None

    def _show(self, client: Any, camera: Cameras, drawing: Drawing, began: float) -> None:
        """Send a picture to a browser."""
        self._last[client.client_id] = camera, drawing
        self._paint(client, drawing)
        height, width = drawing.maps.depth.shape
        if drawing.done:
            self.controls.status.content = f"{width} x {height}, {time.monotonic() - began:.1f} s"

    def _paint(self, client: Any, drawing: Drawing) -> None:
        if not self.controls.field.value or client.client_id not in self.server.get_clients():
            return
        picture = LAYERS[self.controls.shown](drawing.maps)
        client.scene.set_background_image(
            as_bytes(picture), format="jpeg", jpeg_quality=90, depth=drawing.maps.solid().numpy()
        )

    def _repaint(self) -> None:
        for client in self.server.get_clients().values():
            if (last := self._last.get(client.client_id)) is not None:
                self._paint(client, last[1])

    def _show_parts(self) -> None:
        for handle in self.frames:
            handle.visible = self.controls.photos.value
        if self._points is not None:
            self._points.visible = self.controls.points.value

    def _add_frames(self) -> None:
        """Add the photos' frames; rendered pictures stand in for photos that are not there."""
        scene, fit = self.scene, self.fits[self.controls.names[0]]
        views = sorted({*scene.train, *scene.test})
        pictures = scene.images.cpu()[views]
        if bool(pictures[:, :1, :1].isnan().any()):
            step = max(max(scene.cameras.width, scene.cameras.height) // _THUMB, 1)
            rays = [scene.cameras.image_rays(view)[::step, ::step] for view in views]
            pictures = torch.stack([fit.image(each)[0].clamp(0, 1).cpu() for each in rays])
        self.frames = add_cameras(self.server, scene, pictures, views, depth=self.depth, on_click=self._go)
        self._show_parts()

    def _renew_points(self) -> None:
        """Compute the points of the chosen fit, when nothing else is to be drawn."""

        def renew() -> None:
            self._points = add_points(self.server, fit, visible=self.controls.points.value)

        fit = self.fits[self.controls.names[0]]
        self.loop.submit(renew, later=True)

    def _go(self, client: Any, view: int) -> None:
        self._went = time.monotonic()
        one = self.scene.cameras.to("cpu")[view]
        with client.atomic():
            client.camera.wxyz = quaternion_of(one.pose[0, :, :3])
            client.camera.position = one.origins[0].numpy()
            client.camera.fov = fov_of(one)

    def _clicked(self, client: Any, at: tuple[float, float]) -> None:
        """Show the score where a browser was clicked, unless that was on a photo's frame."""

        def later() -> None:
            if time.monotonic() - self._went > 0.5:
                self._score(client, at)

        threading.Timer(0.1, later).start()

    def _score(self, client: Any, at: tuple[float, float], *, first: bool = False) -> None:
        lens, controls = self.lens, self.controls
        assert lens is not None, "asked of pages with a prior"
        fit = self.fits[controls.names[0]]
        if not is_camera(client.camera) or not all(0 <= share <= 1 for share in at):
            return
        camera, sigma = browser_camera(client.camera, 256), controls.level

        def look() -> None:
            found = lens.look(fit, camera, at, sigma)
            controls.picture.image, controls.picture.visible = as_bytes(found.picture), True
            controls.words.content = found.words

        self.loop.submit(look, later=first)
