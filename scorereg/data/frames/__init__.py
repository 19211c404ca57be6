"""Training data as frames: photos, depth and further maps, found, read, reduced and cut into patches."""
