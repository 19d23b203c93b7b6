"""From exported graphs to the graph of every variant."""

from __future__ import annotations

from pathlib import Path

from lading.build.examples import open_graph
from lading.build.quantize.recipes import check_methods, recipe_of
from lading.build.quantize.source import Data, Source
from lading.build.records import BuiltVariant, read_export, write_variants
from lading.errors import QuantizationError
from lading.files import write_atomically
from lading.progress import progress_bars
from lading.spec import Evaluated, Variant


def quantize(spec: Evaluated, exported: Path, out: Path) -> Path:
    """Make every variant's graph.

    Args:
        spec: the model; static quantization is calibrated on its ``train`` split and checked on ``valid``.
        exported: the folder that the export stage wrote.
        out: folder to write ``<variant>.onnx`` and ``variants.json`` to. A variant that cannot be built has no file,
            and its entry says why.

    Returns:
        ``out``.

    Raises:
        QuantizationError: the export folder is not complete, or a variant names an unknown method.
    """
    check_methods(spec)
    files = {graph.pruning: exported / graph.file for graph in read_export(exported)}
    missing = sorted({variant.pruning for variant in spec.variants} - files.keys())
    if missing:
        raise QuantizationError(f"{exported} has no graph with pruning {missing[0]:g}: run `lading export` again")
    out.mkdir(parents=True, exist_ok=True)
    data = Data(spec)
    with progress_bars() as progress:
        sources = {share: Source(spec, share, file, data, progress) for share, file in files.items()}
        variants = progress.track(spec.variants, description="building variants")
        built = [_build(sources[variant.pruning], variant, out) for variant in variants]
    return write_variants(out, built)


def _build(source: Source, variant: Variant, out: Path) -> BuiltVariant:
    file = out / f"{variant.name}.onnx"
    quantization = variant.quantization
    if quantization is None:
        write_atomically(file, source.file.read_bytes())
        return BuiltVariant(variant=variant, file=file.name, precision=source.precision)
    recipe = recipe_of(quantization)
    try:
        if recipe.needs_calibration:
            source.data.calibration(quantization.calibration_examples)
        model, details = recipe.make(source, variant, quantization)
        open_graph(model)
    except QuantizationError as error:
        file.unlink(missing_ok=True)
        return BuiltVariant(variant=variant, file=None, precision=recipe.precision, problem=str(error))
    write_atomically(file, model.SerializeToString(deterministic=True))
    return BuiltVariant(variant=variant, file=file.name, precision=recipe.precision, details=details)
