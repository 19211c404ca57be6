"""Damaged and hostile files, and what the readers make of them."""
