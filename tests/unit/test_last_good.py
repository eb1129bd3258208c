"""The last good table on disk: what was saved comes back, and nothing that is damaged does."""

import pytest

from master.last_good import MAGIC, LastGood, load_last_good, save_last_good

TABLE = b"a table" * 50


def test_what_was_saved_comes_back_and_replaces_the_one_before(tmp_path):
    path = tmp_path / "last"
    save_last_good(path, LastGood(1, b"older"))
    save_last_good(path, LastGood(2**63, TABLE))
    assert load_last_good(path) == LastGood(2**63, TABLE)
    assert [each.name for each in tmp_path.iterdir()] == ["last"]
    assert path.stat().st_mode & 0o077 == 0


def test_nothing_saved_is_nothing(tmp_path, caplog):
    assert load_last_good(tmp_path / "last") is None
    assert not caplog.records


@pytest.mark.parametrize("position", [0, len(MAGIC) + 8, -1], ids=["magic", "digest", "table"])
def test_a_damaged_file_is_not_used_and_the_log_says_so(tmp_path, caplog, position):
    path = tmp_path / "last"
    save_last_good(path, LastGood(1, TABLE))
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    assert load_last_good(path) is None
    assert "damaged; not used" in caplog.text


@pytest.mark.parametrize("size", [0, 1, len(MAGIC), len(MAGIC) + 8, len(MAGIC) + 40])
def test_a_cut_file_is_not_used(tmp_path, size):
    path = tmp_path / "last"
    save_last_good(path, LastGood(1, TABLE))
    path.write_bytes(path.read_bytes()[:size])
    assert load_last_good(path) is None


def test_a_path_that_cannot_be_read_is_not_used(tmp_path, caplog):
    assert load_last_good(tmp_path) is None
    assert "cannot read the last good table" in caplog.text
