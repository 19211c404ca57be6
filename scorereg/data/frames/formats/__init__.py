"""One module for each way in which RGB-D frames lie on disk: from a folder to its frames."""
