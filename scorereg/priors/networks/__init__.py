"""The networks that this library trains, and how they lie on disk."""
