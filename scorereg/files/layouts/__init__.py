"""Layouts of folders: each module turns the files of one layout into a `Listing`."""

from scorereg.files.layouts.find import layout_of

__all__ = ["layout_of"]
