"""A web page that shows fits: fields from the browser's camera, photos, points, and a prior's score; by viser."""

from scorereg.viewer.live import LiveView
from scorereg.viewer.page import Page
from scorereg.viewer.score import PatchScore, PriorLens

__all__ = ["LiveView", "Page", "PatchScore", "PriorLens"]
