"""Remove files of installed wheels that serving never opens: tests, headers, second copies, debug symbols.

``python slim.py FOLDER`` needs ``strip`` from binutils. The Containerfile imports the server afterwards, so a file
removed by mistake ends the build.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
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
)
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
KEPT_ALONE = {
    # Rich colours tracebacks and settings; Pygments knows five hundred more languages.
    "pygments/lexers": ("__init__.py", "_mapping.py", "data.py", "python.py", "shell.py", "special.py"),
}


def main(folder: Path) -> None:
    """Remove the files, and print how much they took."""
    before = size(folder)
    for pattern in (*NEVER_OPENED, *EVERYWHERE):
        for path in sorted(folder.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for name, kept in KEPT_ALONE.items():
        for path in (folder / name).glob("*.py"):
            if path.name not in kept:
                path.unlink()
    strip(folder)
    print(f"{before / 2**20:.0f} MiB of wheels, {size(folder) / 2**20:.0f} MiB kept")


def strip(folder: Path) -> None:
    """Remove the symbols of shared objects, and load each one: a damaged object ends the build."""
    # patchelf rewrote the libraries that wheels bring along, and strip damages rewritten libraries.
    rewritten = {path.name for path in folder.glob("*.libs")} | {"numpy", "PIL", "zmq"}
    found = [path for path in folder.rglob("*.so*") if path.is_file() and not path.is_symlink()]
    libraries = [str(path) for path in found if path.relative_to(folder).parts[0] not in rewritten]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)
    for library in libraries:
        ctypes.CDLL(library)


def size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
