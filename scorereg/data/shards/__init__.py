"""Frames in WebDataset shards: writing, and streaming from a folder or URL."""

from scorereg.data.shards.manifest import Manifest, Shard, has_shards, read_shard
from scorereg.data.shards.remote import Location
from scorereg.data.shards.source import ShardSource, open_shards
from scorereg.data.shards.write import prepare

__all__ = ["Location", "Manifest", "Shard", "ShardSource", "has_shards", "open_shards", "prepare", "read_shard"]
