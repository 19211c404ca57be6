"""A search goes through links once and leaves out what systems put beside files."""

import pytest

from scorereg.files.walk import walk


def tree(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(root):
    return [str(here.relative_to(root) / name) for here, _, files in walk(root) for name in files]


def test_order_and_litter(tmp_path):
    tree(tmp_path, "b/2.png", "b/1.png", "a/x.png", "top.png")
    tree(tmp_path, "b/._1.png", ".git/x.png", "__MACOSX/b/1.png", "b/@eaDir/1.png", "b/Thumbs.db", "b/.DS_Store")
    assert found(tmp_path) == ["top.png", "a/x.png", "b/1.png", "b/2.png"]


def test_links_to_folders_and_files(tmp_path):
    tree(tmp_path, "elsewhere/scene/1.png", "elsewhere/2.png", "data/own/3.png")
    (tmp_path / "data/linked").symlink_to("../elsewhere/scene")
    (tmp_path / "data/own/2.png").symlink_to(tmp_path / "elsewhere/2.png")
    assert found(tmp_path / "data") == ["linked/1.png", "own/2.png", "own/3.png"]


def test_each_real_folder_once(tmp_path):
    """Two names of one folder, a link to a folder of the tree itself, and links in circles."""
    tree(tmp_path, "elsewhere/1.png", "data/z/2.png", "data/b/3.png")
    for name, target in {
        "one": "../elsewhere", "two": "../elsewhere", "a": "z", "b/up": "../..", "self": ".", "above": "/",
    }.items():  # fmt: skip
        (tmp_path / "data" / name).symlink_to(target)
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "data")
    assert found(tmp_path / "data") == ["b/3.png", "one/1.png", "z/2.png"]


def test_a_link_into_a_hidden_folder(tmp_path):
    """Stores of data sets keep files hidden and link to them."""
    tree(tmp_path, ".store/scene/1.png")
    (tmp_path / "scene").symlink_to(".store/scene")
    assert found(tmp_path) == ["scene/1.png"]


def test_the_root_may_be_a_link(tmp_path):
    tree(tmp_path, "real/1.png")
    (tmp_path / "root").symlink_to("real")
    assert found(tmp_path / "root") == ["1.png"]


def test_folders_that_are_removed_are_not_entered(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png")
    seen = []
    for here, folders, files in walk(tmp_path):
        folders[:] = [name for name in folders if name != "a"]
        seen += [here / name for name in files]
    assert seen == [tmp_path / "b/2.png"]


def test_a_text_file_in_place_of_a_link_is_said(tmp_path):
    """What git checks out, and unzip unpacks, where links are not allowed."""
    tree(tmp_path, "elsewhere/scene/1.png", "data/own/2.png", "data/README")
    (tmp_path / "data/linked").write_text("../elsewhere/scene")
    (tmp_path / "data/NOTES").write_text("own is mine")
    with pytest.warns(UserWarning, match=r"linked is a text file with the path ../elsewhere/scene.*Make it a link"):
        assert found(tmp_path / "data") == ["NOTES", "README", "own/2.png"]


def test_a_folder_that_cannot_be_listed_is_said(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png")
    steps = walk(tmp_path)
    next(steps)
    (tmp_path / "a/1.png").unlink()
    (tmp_path / "a").rmdir()
    with pytest.warns(UserWarning, match="a cannot be listed"):
        assert next(steps) == (tmp_path / "b", [], ["2.png"])
