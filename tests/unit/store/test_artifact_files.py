"""Artifacts that are made from files and fetched into files, in a folder and in an object store."""

import os

import pytest

from openrft.errors import NotFound, StoreError
from openrft.store.artifacts import open_artifacts


@pytest.fixture(params=["", "local://"], ids=["folder", "object store"])
def artifacts(request, tmp_path):
    return open_artifacts(f"{request.param}{tmp_path}/artifacts")


def read(artifacts, key):
    with artifacts.open(key) as file:
        return file.read()


def test_a_file_comes_and_goes_whole(artifacts, tmp_path):
    (tmp_path / "weights").write_bytes(b"one")
    kept = artifacts.write_file("jobs/a/weights", tmp_path / "weights")
    assert (kept.bytes, kept.key) == (3, "jobs/a/weights")
    artifacts.fetch("jobs/a/weights", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"one"
    # The same once more, and another file in its place.
    artifacts.write_file("jobs/a/weights", tmp_path / "weights")
    (tmp_path / "other").write_bytes(b"two!")
    artifacts.write_file("jobs/a/weights", tmp_path / "other")
    assert read(artifacts, "jobs/a/weights") == b"two!"
    assert (tmp_path / "fetched").read_bytes() == (tmp_path / "weights").read_bytes() == b"one"
    assert artifacts.list("jobs") == ["jobs/a/weights"]


def test_the_bytes_below_a_key_are_those_of_all_its_files(artifacts):
    for key, piece in (("jobs/a/one", b"123"), ("jobs/a/deep/two", b"45"), ("jobs/ab/three", b"6")):
        artifacts.write(key, [piece])
    assert artifacts.bytes_below("jobs/a") == 5
    artifacts.write("jobs/a/one", [b"1234"])
    assert artifacts.bytes_below("jobs/a") == 6
    assert artifacts.bytes_below("jobs/none") == 0


def test_on_one_file_system_no_byte_is_copied(tmp_path):
    artifacts = open_artifacts(tmp_path / "artifacts")
    (tmp_path / "weights").write_bytes(b"one")
    artifacts.write_file("w", tmp_path / "weights")
    assert os.path.samefile(tmp_path / "weights", tmp_path / "artifacts" / "w")
    (tmp_path / "weights").unlink()
    assert read(artifacts, "w") == b"one"
    assert list((tmp_path / "artifacts" / ".partial").iterdir()) == []


def test_what_is_not_there_is_not_found(artifacts, tmp_path):
    with pytest.raises(NotFound):
        artifacts.fetch("jobs/a/weights", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_place_out_of_reach_is_an_error_that_says_so(artifacts, tmp_path):
    (tmp_path / "weights").write_bytes(b"one")
    artifacts.write_file("jobs/w", tmp_path / "weights")
    (tmp_path / "artifacts").rename(tmp_path / "away")
    (tmp_path / "artifacts").write_text("no folder")
    with pytest.raises(StoreError) as caught:
        artifacts.write_file("jobs/w", tmp_path / "weights")
    assert caught.value.code == "store_unreachable"
    with pytest.raises(StoreError) as caught:
        artifacts.write("jobs/w", [b"x"])
    assert caught.value.code == "store_unreachable"
