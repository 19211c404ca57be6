import os
import signal
import subprocess
import sys
import time

import pytest

from scorereg._io import hold_folder

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
