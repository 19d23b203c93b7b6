"""A content type is looked up by name, and says which tensors it can fill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lading.artifact import MANIFEST, Artifact
from lading.budget import Budget
from lading.content import check_contents, decode_file, register
from lading.content.image import Pictures
from lading.errors import ArtifactError, ContentError, PictureError, SpecError
from lading.import_string import load_spec
from lading.protocol.base64_files import from_base64
from lading.spec import Array, TensorSpec
from tests.given.content_round_trip import check_round_trip
from tests.given.small_artifacts import picture_artifact

IMAGE = TensorSpec(name="photo", dtype="uint8", shape=("batch", 8, 12, 3), content="image")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"content": "smell"}, "tensor 'photo': the content type 'smell' is unknown; known types: .*image"),
        ({"dtype": "float32"}, "tensor 'photo': an image is uint8"),
        ({"shape": ("batch", 8, 12, 1)}, "tensor 'photo': an image is uint8"),
        ({"shape": ("batch", "h", 12, 3)}, "tensor 'photo': an image needs a fixed height and width"),
    ],
)
def test_a_tensor_that_cannot_hold_its_content_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        check_contents([IMAGE, IMAGE.model_copy(update=changes)])


def test_a_spec_is_checked_when_it_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "smelly.py"
    file.write_text(
        "import lading\n"
        "class Smelly(lading.ModelSpec):\n"
        "    name = 'smelly'\n"
        "    inputs = (lading.TensorSpec(name='x', dtype='uint8', shape=('batch', 4), content='smell'),)\n"
        "    outputs = (lading.TensorSpec(name='y', dtype='float32', shape=('batch', 1)),)\n"
        "    build = dataset = loss = score = lambda *_: None\n"
    )
    with pytest.raises(SpecError, match="tensor 'x': the content type 'smell' is unknown"):
        load_spec(f"{file}:Smelly")


def test_an_artifact_is_checked_when_it_is_loaded(tmp_path: Path) -> None:
    artifact = picture_artifact(tmp_path / "pictures")
    manifest = artifact.path / MANIFEST
    manifest.write_text(re.sub('"content": "image"', '"content": "smell"', manifest.read_text(), count=1))
    with pytest.raises(ArtifactError, match=r"lading\.json: tensor .* the content type 'smell' is unknown"):
        Artifact.load(artifact.path)


def test_one_name_is_one_type() -> None:
    class Other(Pictures):
        pass

    with pytest.raises(ValueError, match="two content types are named 'image'"):
        register(Other())


def test_a_picture_is_read_as_it_was_written() -> None:
    check_round_trip(IMAGE)


def test_an_error_that_a_type_did_not_foresee_is_the_clients() -> None:
    class Careless(Pictures):
        def decode(self, data: bytes, spec: TensorSpec, budget: Budget) -> Array:
            raise KeyError((data[:4], spec.name, budget.pixels))

    with pytest.raises(PictureError, match="the picture cannot be decoded: send JPEG, PNG or WebP"):
        decode_file(Careless(), b"anything", IMAGE, Budget())


def test_a_string_that_is_no_base64_is_the_types_own_error() -> None:
    with pytest.raises(PictureError, match="input 'photo', picture 3: the string is not base64"):
        from_base64(IMAGE, 3, "no base64!")
    assert issubclass(PictureError, ContentError)
