import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from scorereg._io import hold_folder, is_full, write_beside

HOLD = "import sys, time; from pathlib import Path; from scorereg._io import hold_folder\n"
HOLD += "with hold_folder(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"


def test_a_folder_is_held_by_one_run_and_freed_at_its_end(tmp_path):
    with hold_folder(tmp_path):
        with pytest.raises(OSError, match="in use by another run") as caught, hold_folder(tmp_path):
            pytest.fail("it is held")
        assert str(tmp_path) in str(caught.value)
        with hold_folder(tmp_path.parent):
            pass
    with hold_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_killed_holds_nothing(tmp_path):
    run = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"held\n"
    with pytest.raises(OSError, match="in use"), hold_folder(tmp_path):
        pytest.fail("it is held")
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.stdout.close()
    time.sleep(0.05)
    with hold_folder(tmp_path):
        pass


def test_an_error_of_the_run_frees_the_folder(tmp_path):
    with pytest.raises(OSError, match="of the run"), hold_folder(tmp_path):
        raise OSError("of the run")
    with hold_folder(tmp_path):
        pass


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "free some space"), (errno.EDQUOT, "remove some of your files"), (errno.EFBIG, "ulimit -f"),
        (errno.EACCES, "change the permissions"), (errno.EROFS, "read-only"), (errno.EIO, "network drive"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_written_is_named_with_the_cure(number, cure, tmp_path):
    path = tmp_path / "field.pt"
    path.write_text("as before")

    def write(beside):
        beside.write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=cure) as caught:
        write_beside(path, write)
    assert str(caught.value).startswith(f"{path} cannot be written ({os.strerror(number)}). ")
    assert is_full(caught.value) == (number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["as before"]


@pytest.mark.parametrize("lay", [lambda p, other: p.symlink_to(other), lambda p, other: os.mkfifo(p)])
def test_what_lies_at_the_temporary_name_is_not_written_to(lay, tmp_path):
    path, other = tmp_path / "eval.json", tmp_path / "precious"
    other.write_text("precious")
    lay(tmp_path / ".eval.json.new", other)
    write_beside(path, lambda beside: beside.write_text("new"))
    assert (path.read_text(), other.read_text()) == ("new", "precious")
    assert not path.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["eval.json", "precious"]


def test_a_library_that_hides_the_cause_is_asked_for_it(tmp_path):
    def write(beside):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 640 vs 598\nmore")  # noqa: B904 - as torch.save does

    with pytest.raises(OSError, match=r"No space left .*The disk is full"):
        write_beside(tmp_path / "a", write)


def test_numpys_words_for_a_full_disk_are_understood(tmp_path):
    def write(beside):
        raise OSError("1920000 requested and 1048512 written")

    with pytest.raises(OSError, match=r"data\.npy cannot be written \(No space left .*The disk is full") as caught:
        write_beside(tmp_path / "data.npy", write)
    assert is_full(caught.value)


def test_a_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(OSError, match=r"a\.txt cannot be written \(No such file.*make it again"):
        write_beside(tmp_path / "gone" / "a.txt", lambda path: path.write_text("x"))
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match=r"b cannot be written \(Is a directory\)\. A folder has the file's name"):
        write_beside(tmp_path / "b", lambda path: path.write_text("x"))
