from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.unpod.errors import Unauthorized
from exporter.unpod.tokens import FileToken, StaticToken


def test_white_space_around_a_token_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("  s3cret\n")
    assert FileToken(tmp_path / "token").value() == "s3cret"
    assert StaticToken("\ts3cret\r\n").value() == "s3cret"


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    token = FileToken(path)
    assert token.value() == "first"
    path.write_text("second, longer".replace(", ", "-"))
    assert token.value() == "second-longer"


def test_a_token_file_that_is_replaced_by_one_of_the_same_size_and_time_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    token = FileToken(path)
    assert token.value() == "first"
    (tmp_path / "new").write_text("other")
    before = path.stat()
    os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new").replace(path)
    assert token.value() == "other"


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match=r"gone cannot be read: No such file") as caught:
        FileToken(tmp_path / "gone").value()
    assert (caught.value.reason, caught.value.status) == ("unauthorized", None)


def test_a_token_file_that_disappears_is_an_error_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret")
    token = FileToken(path)
    token.value()
    path.unlink()
    with pytest.raises(Unauthorized):
        token.value()
    path.write_text("s3cret")
    assert token.value() == "s3cret"


def test_a_directory_is_no_token_file(tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match="cannot be read"):
        FileToken(tmp_path).value()


@pytest.mark.parametrize("raw", ["", "  \n"])
def test_an_empty_token_is_refused(tmp_path: Path, raw: str) -> None:
    (tmp_path / "token").write_text(raw)
    with pytest.raises(Unauthorized, match="is empty"):
        FileToken(tmp_path / "token").value()
    with pytest.raises(Unauthorized, match="is empty"):
        StaticToken(raw)


@pytest.mark.parametrize("raw", ["s3c\nret", "s3c\r\nX-Evil: 1", "Token s3cret", "s3c\x00ret", "s3crét", "s3c\x7fret"])
def test_a_token_with_odd_characters_is_refused_without_showing_it(tmp_path: Path, raw: str) -> None:
    (tmp_path / "token").write_bytes(raw.encode())
    with pytest.raises(Unauthorized) as static:
        StaticToken(raw)
    with pytest.raises(Unauthorized) as file:
        FileToken(tmp_path / "token").value()
    assert not any("s3c" in str(error.value) for error in (static, file))


def test_a_token_shows_nothing_of_itself(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    file = FileToken(tmp_path / "token")
    file.value()
    assert "s3cret" not in f"{file!r}{file}{StaticToken('s3cret')!r}{StaticToken('s3cret')}"
