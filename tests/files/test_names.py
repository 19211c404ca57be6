import unicodedata
from pathlib import Path

import pytest

from scorereg.files.names import Names, shown

SUFFIXES = (".png", ".jpg")


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def found(folder, name, suffixes=SUFFIXES, **more):
    names = Names(folder, folder / "transforms.json")
    path, times = names.find(name, suffixes, **more)
    return path, times, names.said


@pytest.mark.parametrize(
    "name",
    [
        "images/a b.png", "./images/a b.png", ".\\images\\a b.png", "images\\a b.png", "images//a b.png",
        "images/../images/a b.png", " images/a b.png\r", "images/a b", "images/a%20b.png", "{}/images/a b.png",
        "{}/images/./a b.png", "{}\\images\\a b.png", "file://{}/images/a%20b.png", "file://localhost{}/images/a b.png",
        "../scene/images/a b.png",
    ],
)  # fmt: skip
@pytest.mark.parametrize("relative", [False, True])
def test_one_file_however_its_name_is_written(tmp_path, monkeypatch, name, relative):
    put(tmp_path / "scene", "images/a b.png")
    monkeypatch.chdir(tmp_path)
    folder = Path("scene") if relative else tmp_path / "scene"
    path, times, said = found(folder, name.format(tmp_path / "scene"))
    assert path == folder / "images/a b.png"
    assert shown(path, folder) == "images/a b.png"
    assert (times, said) == (1, ())


def test_a_backslash_may_be_part_of_a_name(tmp_path):
    put(tmp_path, "a\\b.png", "a/b.png")
    assert found(tmp_path, "a\\b.png")[0].name == "a\\b.png"


def test_a_suffix_that_lacks_is_the_likeliest(tmp_path):
    put(tmp_path, "train/r_0.jpg", "train/r_0.png", "train/r_0_depth_0001.png", "train/r_1.JPG", "r_2.5.png")
    assert found(tmp_path, "./train/r_0")[0] == tmp_path / "train/r_0.png"
    assert found(tmp_path, "./train/r_1")[0] == tmp_path / "train/r_1.JPG"
    assert found(tmp_path, "r_2.5")[0] == tmp_path / "r_2.5.png"


@pytest.mark.parametrize("name", ["Images/A.jpg", "images/a.JPG", "IMAGES\\a.jpg"])
def test_another_case_is_told(tmp_path, name):
    put(tmp_path, "images/A.JPG")
    path, _, said = found(tmp_path, name)
    assert path == tmp_path / "images/A.JPG"
    assert len(said) == 1
    assert (
        f"transforms.json: it names files in another case than they have on this disk ({name} is images/A.JPG)"
        in said[0]
    )


def test_two_files_that_differ_in_case_are_not_guessed(tmp_path):
    put(tmp_path, "a.jpg", "A.jpg", "A.JPG")
    assert found(tmp_path, "a.Jpg") == (tmp_path / "a.Jpg", 1, ())
    assert found(tmp_path, "A.jpg")[0] == tmp_path / "A.jpg"


def test_split_letters_are_the_same_letters(tmp_path):
    put(tmp_path, unicodedata.normalize("NFD", "é/ü.png"))
    path, _, said = found(tmp_path, unicodedata.normalize("NFC", "é/ü.png"))
    assert path.is_file()
    assert said == ()


@pytest.mark.parametrize(
    "name",
    [
        "/home/other/scene/images/a.png", "C:\\Users\\Ann\\scene\\images\\a.png", "D:/images/a.png",
        "../old/images/a.png", "data/fox/images/a.png", "\\\\server\\share\\images\\a.png", "file:///C:/x/images/a.png",
        "/elsewhere/a.png", "C:\\captures\\A.PNG",
    ],
)  # fmt: skip
def test_names_of_another_machine_are_found_by_their_ends(tmp_path, name):
    put(tmp_path, "images/a.png", "masks/a.png")
    path, _, said = found(tmp_path, name)
    assert path == tmp_path / "images/a.png"
    assert len(said) == 1
    assert "names files that are not there" in said[0]
    assert "images/a.png" in said[0]


def test_a_file_that_is_gone_is_not_replaced_by_one_of_its_name(tmp_path):
    put(tmp_path, "images/b.png", "masks/a.png", "a.png", "scene/images/a.png")
    assert found(tmp_path, "images/a.png") == (tmp_path / "images/a.png", 1, ())
    photo = tmp_path / "a.png"
    assert not found(tmp_path, "/old/depth/a.png", unlike=photo)[0].is_file()
    assert not found(tmp_path, "depth/a.png", unlike=photo)[0].is_file()
    assert found(tmp_path, "/old/depth/b.png", unlike=photo)[0] == Path("/old/depth/b.png")


def test_smaller_copies_stand_for_a_folder_that_is_not_there(tmp_path):
    put(tmp_path, "images_4/a.png", "images_8/a.png", "depths_2/a.npy")
    path, times, said = found(tmp_path, "./images/a.png")
    assert (path, times) == (tmp_path / "images_4/a.png", 4)
    assert "their smaller copies are taken (images_4/a.png)" in said[0]
    assert found(tmp_path, "/old/scene/images/a.png")[:2] == (tmp_path / "images_4/a.png", 4)
    assert found(tmp_path, "depths/a.npy", ())[:2] == (tmp_path / "depths_2/a.npy", 2)
    put(tmp_path, "images/b.png")
    assert found(tmp_path, "images/a.png")[:2] == (tmp_path / "images/a.png", 1)


def test_files_beside_the_folder_and_absolute_ones(tmp_path):
    put(tmp_path, "photos/a.png", "scene/x")
    for name in ("../photos/a.png", f"{tmp_path}/photos/a.png"):
        path, _, said = found(tmp_path / "scene", name)
        assert path.samefile(tmp_path / "photos/a.png")
        assert shown(path, tmp_path / "scene") == "../photos/a.png"
        assert said == ()


def test_links_lead_where_the_system_says(tmp_path):
    put(tmp_path, "store/deep/a.png", "other/b.png", "store/b.png")
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene/images").symlink_to(tmp_path / "store/deep")
    path, _, _ = found(tmp_path / "scene", "images/../b.png")  # ../ of the real folder
    assert path.samefile(tmp_path / "store/b.png")
    (tmp_path / "link").symlink_to(tmp_path / "scene")
    assert found(tmp_path / "link", f"{tmp_path}/scene/images/a.png")[0] == tmp_path / "link/images/a.png"


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "..", ".", "/", "", "https://x.org/a.png", "images"])
def test_names_of_no_file(tmp_path, name):
    put(tmp_path, "images/a.png")
    path, times, said = found(tmp_path, name)
    assert times == 1
    assert said == ()
    assert "\0" in str(path) or len(str(path)) > 4096 or not path.is_file()
