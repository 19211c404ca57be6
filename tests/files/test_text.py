import json

import pytest

from scorereg import _io
from scorereg._io import read_json
from scorereg.files.layouts.parsing import number
from scorereg.files.text import number_in, read_lines, read_rows

TEXT = '{"a": 1.5,\r\n "ä": "b"}\r\n'


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)  # utf-16 and utf-32 write a mark, -le and -be do not
def test_json_in_any_encoding_of_unicode(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_bytes(TEXT.encode(encoding))
    assert read_json(path, "") == {"a": 1.5, "ä": "b"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (TEXT.encode("latin-1"), r"is no text in utf-8 \(invalid .* at byte 14\)\. Save it as UTF-8\. Do this"),
        (b"\xff\xfe\x00", r"is no text in utf-16.*truncated"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', r"no valid JSON \(the key `c` is there twice\)\. Do this"),
        (b'{"a":' + b"[" * 100_000, "nested too deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "no valid JSON .*4300"),
        (b"", "a.json is empty"),
        (b"{} {}", "no valid JSON .*Extra data"),
        (b"3", "must hold one JSON object, not a int"),
    ],
    ids=["latin", "utf-16", "twice", "deep", "digits", "empty", "more", "number"],
)
def test_json_that_cannot_be_read(tmp_path, data, says):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=says) as caught:
        read_json(path, "Do this.")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_key_that_is_there_twice_with_one_value_is_no_fault(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1], "a": [1]}')
    assert read_json(tmp_path / "a.json", "") == {"a": [1]}


def test_files_that_are_missing_too_large_or_folders(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"a\.json is missing\. Do this"):
        read_json(tmp_path / "a.json", "Do this.")
    with pytest.raises(OSError, match="cannot be read.*Do this"):
        read_json(tmp_path, "Do this.")
    (tmp_path / "a.json").write_text(json.dumps({"a": "b" * 2_000_000}))
    monkeypatch.setattr(_io, "MOST_TEXT", 2**20)
    with pytest.raises(ValueError, match="has 2 MB, which no description has"):
        read_json(tmp_path / "a.json", "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_a_text_file(tmp_path, encoding, end):
    (tmp_path / "a.txt").write_bytes(end.join(["# é", "", " rgb/é.png  1 ", "2"]).encode(encoding))
    assert read_lines(tmp_path / "a.txt") == ["rgb/é.png  1", "2"]


def test_rows_of_numbers(tmp_path):
    (tmp_path / "a.txt").write_text("1 2,3\n4e1;nan\n")
    rows = read_rows(tmp_path / "a.txt")
    assert rows[0] == [1, 2, 3]
    assert rows[1][0] == 40
    assert rows[1][1] != rows[1][1]
    (tmp_path / "a.txt").write_text("1 2\nNone\n")
    with pytest.raises(ValueError, match=r"a\.txt: `None` should be numbers\. Restore the file"):
        read_rows(tmp_path / "a.txt")


def test_numbers_of_an_object():
    assert number_in({"a": 3}, "a", "f") == 3.0
    assert number_in({"a": None}, "a", "f", 2.0) == 2.0
    assert number_in({}, "a", "f") is None
    for value in (True, "3", [3], float("nan"), float("inf"), 1e308, 10**400, {}):
        with pytest.raises(ValueError, match=r"^f: `a` must be a finite number, but is "):
            number_in({"a": value}, "a", "f")


@pytest.mark.parametrize("value", [0, -1, True, None, "1", float("nan"), float("inf"), 1e39, 1e-40, 10**400])
def test_a_number_that_is_none_as_float32_is_refused(value, tmp_path):
    with pytest.raises(ValueError, match="`scale` must be a number > 0") as caught:
        number(value, "scale", tmp_path / "a.json")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_numbers_of_float32_are_read(tmp_path):
    assert [number(v, "scale", tmp_path) for v in (1, 0.001, 1e30, 1e-30)] == [1.0, 0.001, 1e30, 1e-30]
