"""Load a spec or a function by an import string such as ``models/cards.py:Cards``, as uvicorn does."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from lading.artifact import made_from
from lading.content import check_contents, with_files
from lading.errors import SpecError
from lading.spec import Evaluated, ModelSpec, TensorSpec, Variant, check_spec


def load_spec(target: str, options: Mapping[str, Any] | None = None) -> ModelSpec:
    """Import ``models/cards.py:Cards`` (or ``package.module:Class``) and construct it with ``options``.

    Raises:
        SpecError: the file or the class is missing, the class is not a complete ModelSpec, or an option is unknown.
    """
    location, separator, attribute = target.partition(":")
    if not separator or not location or not attribute:
        known = made_from(target)
        what = f": {known}" if known else "; write for example models/cards.py:Cards"
        raise SpecError(f"{target!r} is not of the form file.py:Class{what}")
    module = _import_file(Path(location)) if location.endswith(".py") else _import_module(location)
    cls = getattr(module, attribute, None)
    if cls is None:
        specs = [name for name, value in vars(module).items() if _is_spec(value)]
        raise SpecError(f"{location} has no {attribute!r}; the models in it are: {', '.join(specs) or 'none'}")
    if not _is_spec(cls):
        raise SpecError(f"{target} is not a subclass of lading.ModelSpec")
    try:
        spec = cls(**(options or {}))
    except TypeError as error:
        raise SpecError(f"{target} cannot be constructed: {error}") from error
    assert isinstance(spec, ModelSpec)
    for required in ("name", "inputs", "outputs"):
        if not hasattr(spec, required):
            raise SpecError(f"{target} has no {required!r}: set it in the class")
    _check_fields(target, spec)
    check_spec(spec)
    check_contents(spec.inputs, spec.outputs)
    inputs = with_files(spec.inputs, Path(inspect.getfile(cls)).parent)
    if inputs != spec.inputs:
        spec.inputs = inputs
    return spec


def _check_fields(target: str, spec: ModelSpec) -> None:
    """What a class sets under a wrong name or of a wrong kind would be left out without a word."""
    kinds = {"inputs": TensorSpec, "outputs": TensorSpec, "variants": Variant}
    for field, kind in kinds.items():
        value = getattr(spec, field)
        if not isinstance(value, tuple | list) or not all(isinstance(one, kind) for one in value):
            raise SpecError(
                f"{target} has {field!r} that are no tuple of {kind.__name__}: write ({kind.__name__}(...),), with the "
                "comma behind the last one"
            )
    known = {*dir(ModelSpec), *ModelSpec.__annotations__, *Evaluated.__annotations__}
    for name in sorted({name for cls in type(spec).__mro__ if _is_spec(cls) for name in vars(cls)} - known):
        near = get_close_matches(name, [one for one in known if not one.startswith("_")], 1, 0.85)
        if near and not name.startswith("_") and near[0] not in vars(type(spec)):
            raise SpecError(f"{target} sets {name!r}, which nothing reads; did you mean {near[0]!r}?")


def load_function(target: str) -> Callable[..., Any]:
    """Import ``package.module:function``. Modules in the current folder are found too.

    Raises:
        SpecError: the module or the function is missing.
    """
    location, _, attribute = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    function = getattr(_import_module(location), attribute, None) if location and attribute else None
    if not callable(function):
        raise SpecError(f"{target!r} is not a function; write package.module:function")
    return function  # type: ignore[no-any-return]  # a callable is all that can be known


def find_module(target: str) -> None:
    """Look for the module of a function, without importing it.

    Raises:
        SpecError: there is no such module.
    """
    location = target.partition(":")[0]
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.util.find_spec(location)
    except (ImportError, ValueError) as error:
        raise SpecError(f"module {location!r} cannot be imported: {error}") from None
    if found is None:
        raise SpecError(f"module {location!r} cannot be imported: No module named {location!r}")


def _is_spec(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, ModelSpec) and value is not ModelSpec


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise SpecError(f"there is no file {path}")
    name = f"{path.parent.name}.{path.stem}"
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    # The parent folder comes first, so that models/cards.py can import models.card_decks. The file's own folder comes
    # last, so that it can import its neighbours, as a script can.
    if str(path.parent.parent) not in sys.path:
        sys.path.insert(0, str(path.parent.parent))
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SpecError(f"{_line_of(path, error)} cannot be imported: {_reason(error)}") from error
    except SystemExit as error:  # it would end this command as if all were done
        del sys.modules[name]
        raise SpecError(
            f"{_line_of(path, error)} cannot be imported: it ends the program (sys.exit): put what is a script under "
            'if __name__ == "__main__":'
        ) from None
    return module


def _line_of(path: Path, error: BaseException) -> str:
    """The file, with the last of its lines that led to the error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _reason(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.msg} (line {error.lineno})"
    if isinstance(error, ValidationError):
        told = [
            str(one["ctx"]["error"])
            if one["type"] == "value_error"
            else f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors()
        ]
        return f"{error.title}: {'; '.join(told)}"
    return f"{type(error).__name__}: {error}"


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SpecError(f"module {name!r} cannot be imported: {error}") from error
