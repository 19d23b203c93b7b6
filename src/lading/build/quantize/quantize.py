"""From exported graphs to the graph of every variant."""

from __future__ import annotations

from pathlib import Path

from lading.build.examples import open_graph
from lading.build.export.lowest_versions import lower_versions, with_lowest_versions
from lading.build.quantize.recipes import check_methods, recipe_of
from lading.build.quantize.source import Data, Source
from lading.build.records import VARIANTS_FILE, BuiltVariant, read_export, write_variants
from lading.errors import QuantizationError
from lading.files import claim, write_atomically
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
    export = read_export(exported)
    files = {graph.pruning: exported / graph.file for graph in export.graphs}
    missing = sorted({variant.pruning for variant in spec.variants} - files.keys() - export.problems.keys())
    if missing:
        raise QuantizationError(f"{exported} has no graph with pruning {missing[0]:g}: run `lading export` again")
    claim(out, (f"{variant.name}.onnx" for variant in spec.variants), known_by=VARIANTS_FILE)
    data = Data(spec)
    with progress_bars() as progress:
        sources = {share: Source(spec, share, file, data, progress) for share, file in files.items()}
        variants = progress.track(spec.variants, description="building variants")
        made_by = {graph.pruning: graph.made_by for graph in export.graphs}
        built = [
            _build(sources[variant.pruning], variant, out)
            if variant.pruning in sources
            else _absent(variant, export.problems[variant.pruning])
            for variant in variants
        ]
        built = [one.model_copy(update={"exporter": made_by.get(one.variant.pruning, "")}) for one in built]
    return write_variants(out, built)


def _absent(variant: Variant, problem: str) -> BuiltVariant:
    precision = recipe_of(variant.quantization).precision if variant.quantization else "fp32"
    return BuiltVariant(variant=variant, file=None, precision=precision, problem=problem)


def _build(source: Source, variant: Variant, out: Path) -> BuiltVariant:
    file = out / f"{variant.name}.onnx"
    quantization = variant.quantization
    if quantization is None:
        write_atomically(file, with_lowest_versions(source.file.read_bytes()))
        return BuiltVariant(variant=variant, file=file.name, precision=source.precision)
    recipe = recipe_of(quantization)
    try:
        if recipe.needs_calibration:
            source.data.calibration(quantization.calibration_examples)
        model, details = recipe.make(source, variant, quantization)
        lower_versions(model)
        open_graph(model)
    except Exception as error:
        # ONNX Runtime's exceptions share no base class; what a data set or a score raises is the user's to see.
        if not isinstance(error, QuantizationError) and not type(error).__module__.startswith("onnxruntime"):
            raise
        file.unlink(missing_ok=True)
        return _absent(variant, str(error))
    write_atomically(file, model.SerializeToString(deterministic=True))
    return BuiltVariant(variant=variant, file=file.name, precision=recipe.precision, details=details)
