"""Folders of frames and their shards, for several test files."""

import pytest
from rgbd_folders import transforms

from scorereg.data import prepare


@pytest.fixture
def scenes(tmp_path):
    """Twenty scenes of two frames."""
    for i in range(20):
        transforms(tmp_path / "raw" / f"s{i:02}", 2, seed=10 * i)
    return tmp_path / "raw"


@pytest.fixture
def shards(scenes, tmp_path):
    """Their shards."""
    prepare([scenes], tmp_path / "shards", focal=30.0, shard_frames=8, licence="CC0", credits=("me",))
    return tmp_path / "shards"
