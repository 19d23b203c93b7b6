"""The two models in numpy, as a careful author writes them: names, datatypes and shapes are checked.

KServe and MLServer leave these checks to the author of a model. ``../lading_models.py`` has the same as ONNX files.
"""

import numpy as np

TYPES = {"FP32": np.float32, "INT64": np.int64, "UINT8": np.uint8, "BOOL": np.bool_}
ECHO = {"numbers": ("FP32", 4), "counts": ("INT64", 3), "octets": ("UINT8", 2), "flags": ("BOOL", 2)}
TOTAL = {"numbers": ("FP32", 4)}
MODELS = {
    "echo": (ECHO, {f"{name}_out": kind for name, kind in ECHO.items()}),
    "total": (TOTAL, {"total": ("FP32", 1)}),
}
"""Inputs and outputs of each model: datatype and columns by name."""


class WrongInputError(ValueError):
    """The inputs are not the model's."""


def metadata(tensors):
    return [{"name": name, "datatype": kind, "shape": [-1, size]} for name, (kind, size) in tensors.items()]


def check(model, described, requested):
    """Refuse inputs that are not the model's.

    ``described`` has name, datatype and shape of each input, ``requested`` the names of outputs.
    """
    inputs, outputs = MODELS[model]
    names = [name for name, _, _ in described]
    if sorted(names) != sorted(inputs):
        raise WrongInputError(f"the inputs are {names}; the model takes {list(inputs)}")
    rows = set()
    for name, datatype, shape in described:
        kind, size = inputs[name]
        if datatype != kind:
            raise WrongInputError(f"{name} is {datatype}; the model takes {kind}")
        if len(shape) != 2 or shape[1] != size or shape[0] < 0:
            raise WrongInputError(f"{name} has the shape {list(shape)}; the model takes [-1, {size}]")
        rows.add(shape[0])
    if len(rows) > 1:
        raise WrongInputError(f"the inputs have {sorted(rows)} rows")
    unknown = [name for name in requested if name not in outputs]
    if unknown:
        raise WrongInputError(f"the outputs {unknown} do not exist; the model has {list(outputs)}")


def answer(model, arrays, requested):
    """The outputs by name: the requested ones, or all."""
    for name, array in arrays.items():
        if array.ndim != 2 or array.dtype != TYPES[MODELS[model][0][name][0]]:
            raise WrongInputError(f"{name} is an array of {array.dtype} of shape {array.shape}")
    if model == "echo":
        outputs = {f"{name}_out": array for name, array in arrays.items()}
    else:
        outputs = {"total": arrays["numbers"].sum(axis=1, keepdims=True)}
    return {name: outputs[name] for name in (requested or MODELS[model][1])}
