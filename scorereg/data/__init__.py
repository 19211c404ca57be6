"""Training data: files on disk become patches in prior space."""
