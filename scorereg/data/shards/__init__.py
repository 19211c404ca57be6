"""Training data as WebDataset shards: packed, and streamed from a folder or a URL."""
