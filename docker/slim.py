"""Remove files of installed wheels that an image never opens: tests, headers, second copies, debug symbols.

``python slim.py FOLDER [NAME...]`` also removes the folders of these names. It needs ``as``, ``ld``, ``readelf`` and
``strip`` from binutils. Afterwards ``try_recording.py`` uses what is left, so a file removed by mistake ends the build.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

NEVER_OPENED = (
    # For programs that link against the runtime. The extension module has its own copy.
    "onnxruntime/capi/libonnxruntime.so.*",
    "onnxruntime/transformers",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/datasets",
    "numpy/f2py",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/_core/_simd.*.so",
    "numpy/_core/*_tests.*.so",
    "numpy/random/lib",
    "numpy/distutils",
    # Formats of pictures that the server refuses before Pillow sees them.
    "pillow.libs/libavif-*.so*",
    "PIL/_avif.*.so",
    # Text on pictures, and colour profiles.
    "PIL/_imagingft.*.so",
    "PIL/_imagingcms.*.so",
    *(f"pillow.libs/lib{name}-*.so*" for name in ("harfbuzz", "freetype", "brotlidec", "brotlicommon", "png16")),
    "pillow.libs/liblcms2-*.so*",
    "bin",
    "share",
    "tornado/test",
    # Required by the package of Swagger UI, of which only two files are served, and never imported.
    *("flask", "werkzeug", "blinker", "itsdangerous"),
    "flask_swagger_ui/dist/swagger-ui.js",
    "flask_swagger_ui/dist/swagger-ui-standalone-preset.js",
    # The demo draws molecules.
    *("rdkit-stubs", "rdkit/Contrib", "rdkit/sping", "rdkit/**/UnitTest*", "pydeck/nbextension"),
    *("pyarrow/**/*.pxi", "pyarrow/include", "pyarrow/includes", "pyarrow/src", "pyarrow/interchange"),
    *(f"pyarrow/{name}.py" for name in ("dataset", "acero", "substrait", "flight")),
    *(f"pyarrow/{name}.py" for name in ("orc", "feather", "jvm", "cuda", "conftest", "benchmark", "csv", "json")),
    # Required by tokenizers, which uses them for downloads only.
    *("huggingface_hub", "hf_xet", "httpx2", "httpcore2", "truststore"),
    # Compiled copies of Python modules that guess the encoding of web pages.
    "charset_normalizer/*.so",
    "*.dist-info/sboms",
)
EMPTIED = {
    **{f"pyarrow/libarrow_{name}.so.*": () for name in ("substrait", "dataset", "acero")},
    "pillow.libs/libXau-*.so*": ("XauDisposeAuth", "XauGetBestAuthByAddr"),
}
"""Libraries that others name and never call: each becomes one with these symbols. libXau is for screenshots."""
EVERYWHERE = (
    "**/tests",
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
    "**/*.h",
    "**/*.c",
    "**/*.cpp",
    "**/__pycache__",
    "**/py.typed",
)
USED_BY = {"numpy/f2py": "scipy", "itsdangerous": "streamlit"}
"""What another wheel imports. It stays where that wheel is."""
NOT_TESTS = ("evidently/*",)
"""Where a folder ``tests`` holds what a library does."""
KEPT_ALONE = {
    # Rich colours tracebacks and settings; Pygments knows five hundred more languages.
    "pygments/lexers/*.py": ("__init__.py", "_mapping.py", "data.py", "python.py", "shell.py", "special.py"),
    # What reads and writes Parquet. Clients of buckets, Flight, ORC, CSV and queries are two thirds of the wheel.
    "pyarrow/*.so*": (
        *("lib.*", "_fs.*", "_parquet.*", "_compute.*"),
        *("libarrow.so.*", "libarrow_compute.so.*", "libparquet.so.*", "libarrow_python.so.????"),
        *("libarrow_substrait.so.*", "libarrow_dataset.so.*", "libarrow_acero.so.*"),
    ),
    # What reads SMILES and draws.
    "rdkit/Chem/**/*.so": (
        *("rdchem.so", "rdmolfiles.so", "rdmolops.so", "rdMolInterchange.so", "rdCIPLabeler.so", "rdCoordGen.so"),
        *("rdDepictor.so", "rdinchi.so", "rdMolDraw2D.so"),
    ),
}
"""Of the files of a pattern, the names that stay."""
DRAWING = "rdkit/Chem/Draw/__init__.py"
"""It imports NumPy for Python code that draws. The demo draws with the compiled module next to it."""


def main(folder: Path, left_out: list[str]) -> None:
    """Remove the files, and print how much they took."""
    before = size(folder)
    wheels = rewritten(folder)
    used = {pattern for pattern, wheel in USED_BY.items() if (folder / wheel).is_dir()}
    for pattern in (*left_out, *(one for one in NEVER_OPENED if one not in used), *EVERYWHERE):
        for path in sorted(folder.glob(pattern)):
            if path.name == "tests" and any(fnmatch(str(path.relative_to(folder)), name) for name in NOT_TESTS):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for pattern, kept in KEPT_ALONE.items():
        for path in folder.glob(pattern):
            if not any(fnmatch(path.name, name) for name in kept):
                path.unlink()
    if (folder / DRAWING).exists():
        (folder / DRAWING).write_text("")
        remove_unneeded(folder, "rdkit.libs")
    for pattern, symbols in EMPTIED.items():
        for path in folder.glob(pattern):
            empty(path, symbols)
    strip(folder, wheels)
    for record in folder.glob("*.dist-info/RECORD"):  # for uninstalling; hashes cannot be compressed
        record.unlink()
    print(f"{before / 2**20:.0f} MiB of wheels, {size(folder) / 2**20:.0f} MiB kept")


def empty(library: Path, symbols: tuple[str, ...]) -> None:
    """Replace a shared library by one with these symbols. What needs another symbol of it then does not load."""
    source = "".join(f".globl {name}\n.type {name}, %function\n{name}: .quad 0\n" for name in symbols)
    with tempfile.NamedTemporaryFile(suffix=".o") as built:
        subprocess.run(["as", "-o", built.name, "-"], input=source, text=True, check=True)
        subprocess.run(["ld", "-shared", "-soname", library.name, "-o", str(library), built.name], check=True)


def remove_unneeded(folder: Path, libraries: str) -> None:
    """Remove the libraries of this folder that no other library needs any more."""
    while True:
        objects = [str(path) for path in folder.rglob("*.so*") if path.is_file()]
        read = subprocess.run(["readelf", "--dynamic", *objects], capture_output=True, text=True, check=True).stdout
        needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", read))
        unneeded = [path for path in (folder / libraries).iterdir() if path.name not in needed]
        if not unneeded:
            return
        for path in unneeded:
            path.unlink()


def strip(folder: Path, damaged: set[str]) -> None:
    """Remove the symbols of shared objects, except in these folders. Load each one: a damaged object ends the build."""
    found = [path for path in folder.rglob("*.so*") if path.is_file() and not path.is_symlink()]
    libraries = [str(path) for path in found if path.relative_to(folder).parts[0] not in damaged]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)
    for library in libraries:
        ctypes.CDLL(library)


def rewritten(folder: Path) -> set[str]:
    """Top folders of wheels with libraries in ``NAME.libs``: patchelf rewrote these, and strip damages them."""
    wheels = [{line.split("/")[0] for line in file.open()} for file in folder.glob("*.dist-info/RECORD")]
    return {name for names in wheels if any(one.endswith(".libs") for one in names) for name in names}


def size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
