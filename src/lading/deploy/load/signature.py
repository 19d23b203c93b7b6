"""Name and tensors of a model, read from its artifact or from a running server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lading.artifact import Artifact
from lading.content import check_contents, content_types
from lading.errors import CheckError, ClientError, DataError, SpecError
from lading.protocol.client import ANYONE, Access, Client
from lading.protocol.datatypes import BYTES, FROM_V2
from lading.protocol.describe import first_example
from lading.protocol.plain import Classifier, classifier
from lading.spec import BATCH, Array, TensorSpec
from lading.tensors.ragged import separate

_FIELDS = set(TensorSpec.model_fields)
AXIS = "axis_"


@dataclass(frozen=True)
class Signature:
    """A model's name and tensors."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()
    """Empty if the server only has the protocol's metadata, which have no labels."""
    plain: bool = True
    """The server has ``/predict``. Other servers of the Open Inference Protocol do not."""
    classifies: bool = False
    """The server has ``/classify``: one encoded file in, labels out."""
    recorded: tuple[Mapping[str, Array], ...] = ()
    """Real requests, batch dim included."""


def from_artifact(path: Path) -> Signature:
    """Name, inputs and golden requests of an artifact: each row, or the first graph of ragged inputs.

    Raises:
        ArtifactError: the artifact is incomplete or corrupt.
    """
    artifact = Artifact.load(path)
    inputs = artifact.manifest.inputs
    golden = artifact.golden_inputs()
    classifies = isinstance(classifier(artifact), Classifier)
    if all(spec.batched for spec in inputs):
        recorded = [{name: array[None] for name, array in one.items()} for one, _ in separate(inputs, (), golden, {})]
    else:
        recorded = [{name: array for name, (_, array) in first_example(inputs, golden).items()}]
    return Signature(
        artifact.manifest.name, inputs, artifact.manifest.outputs, classifies=classifies, recorded=tuple(recorded)
    )


def from_server(url: str, model: str | None = None, *, access: Access = ANYONE) -> Signature:
    """Read ``/model`` of a server, or the protocol's ``/v2/models/NAME`` if it has none.

    Args:
        url: address of its HTTP port.
        model: its name; default: the server's default or only model.
        access: key and certificate.

    Raises:
        ClientError: no answer, a refusal, or no such model.
        CheckError: the description cannot be read, or random inputs cannot be made for it.
        SettingsError: the file of keys or the certificate cannot be used.
    """
    with Client(url, access=access) as client:
        try:
            described = _described(client.get("/model"))
        except ClientError as error:
            if error.answered != HTTPStatus.NOT_FOUND:
                raise
        else:
            if model in (None, described.name):
                return described
        return _metadata(client.get(f"/v2/models/{model or _only_model(client)}"))


def _only_model(client: Client) -> str:
    names = client.get("/v2/models").get("models", [])
    if len(names) != 1:
        raise CheckError(f"{client.url} serves {names or 'no model'}: choose one with --model")
    return str(names[0])


def _described(content: dict[str, Any]) -> Signature:
    try:
        inputs, outputs = (
            tuple(
                TensorSpec.model_validate({key: value for key, value in tensor.items() if key in _FIELDS})
                for tensor in content[side]
            )
            for side in ("inputs", "outputs")
        )
        check_contents(inputs, outputs)
        return Signature(content["name"], inputs, outputs, classifies=content["classify"])
    except (KeyError, TypeError, ValidationError, SpecError) as error:
        raise CheckError(f"the description of the model at /model cannot be read: {error}") from None


def _metadata(content: dict[str, Any]) -> Signature:
    """Read the protocol's metadata. A first dim of -1 is the batch; each other -1 becomes its own symbolic dim."""
    specs = []
    for tensor in content.get("inputs", []):
        name, datatype = tensor["name"], tensor["datatype"]
        if datatype == BYTES or datatype not in FROM_V2:
            raise CheckError(
                f"input {name!r} has datatype {datatype}, for which no random values can be made; name the artifact"
            )
        shape = [dim if dim > 0 else f"{AXIS}{axis}" for axis, dim in enumerate(tensor["shape"])]
        try:
            specs.append(TensorSpec(name=name, dtype=FROM_V2[datatype], shape=(BATCH, *shape[1:])))
        except ValidationError as error:
            raise CheckError(f"no random values can be made for input {name!r}: {error.errors()[0]['msg']}") from None
    if not specs:
        raise CheckError(f"the server lists no inputs of {content.get('name')!r}")
    return Signature(content["name"], tuple(specs), plain=False)


MAX_FILES = 64


def read_files(where: str) -> list[bytes]:
    """The bytes of one encoded file, or of the first :data:`MAX_FILES` of a folder. None if ``where`` is empty.

    Raises:
        DataError: there is no file with a suffix of a content type.
    """
    if not where:
        return []
    path = Path(where)
    suffixes = [suffix for content in content_types() for suffix in content.suffixes]
    files = [path] if path.is_file() else sorted(file for file in path.glob("*") if file.suffix.lower() in suffixes)
    if not files:
        raise DataError(f"{where} is not a file or a folder with {', '.join(suffixes)} files")
    return [file.read_bytes() for file in files[:MAX_FILES]]
