"""Layouts of folders: each module turns the files of one layout into a `Listing`."""

__all__ = []
