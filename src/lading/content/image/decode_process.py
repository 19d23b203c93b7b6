"""A process that decodes one WebP with a memory limit and a clock.

A lossless WebP decides while it is decoded how much memory libwebp takes. Memory that is limited for a process of its
own cannot become the server's. This file is the program of that process, too, so it imports the standard library only.
The file and its pixels are in memory that both processes share, so no pixel is copied.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import sys

INTERPRETER = 12_000_000
"""Bytes that the process takes before it decodes."""
DECODED, FAILED, DAMAGED, OUT_OF_MEMORY, LATE = 0, 1, 70, 71, 72
"""How it ends. ``FAILED``: it could not be started, or did not get as far as to decode. Any other number: it was
killed, most likely because a container has no memory left."""
_DEATH_OF_PARENT = 1
_STATUS_OUT_OF_MEMORY = 1
_ENDINGS = {"SIGXCPU": LATE, "SIGSEGV": DAMAGED, "SIGABRT": DAMAGED, "SIGBUS": DAMAGED}
_SIGNALS = {-getattr(signal, name): how for name, how in _ENDINGS.items() if hasattr(signal, name)}
_INTERFACE = 0x0200  # of libwebp; the lower byte may differ


def can_decode_apart() -> bool:
    """Whether this system has what it takes: Linux, and a known interpreter."""
    return hasattr(os, "memfd_create") and bool(sys.executable)


def decode_apart(
    library: str, file: bytes, *, rows: int, stride: int, channels: int, memory: int, seconds: float
) -> tuple[int, mmap.mmap | None]:
    """Decode a still WebP.

    Args:
        library: path of the library that is linked with libwebp.
        file: the WebP.
        rows: of the picture.
        stride: bytes per row: columns times channels.
        channels: 3 for RGB, 4 for RGBA.
        memory: bytes that decoding may take next to the interpreter, the file and the pixels.
        seconds: after which the process is killed.

    Returns:
        How it ended, and memory that begins with the pixels once they are decoded.
    """
    import subprocess  # here, because the process itself starts faster without it

    size = rows * stride
    try:
        handle = os.memfd_create("picture")
    except OSError:
        return FAILED, None
    try:
        os.ftruncate(handle, size + len(file))
        shared = mmap.mmap(handle, size + len(file))
        shared[size:] = file
        numbers = (handle, size, stride, channels, memory, int(seconds) + 1)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, library, *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # its end is the end of the process
            stderr=subprocess.DEVNULL,
            pass_fds=(handle,),
            start_new_session=True,  # Ctrl-C ends the server, which answers this request first
        )
    except OSError:
        return FAILED, None
    finally:
        os.close(handle)
    with process:
        try:
            process.communicate(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return LATE, None
        finally:
            process.kill()
    ending = _SIGNALS.get(process.returncode, process.returncode)
    return ending, shared if ending == DECODED else None


def _decode(library: str, *numbers: int) -> int:
    import resource  # as everything here it is Linux's

    handle, size, stride, channels, memory, seconds = numbers
    ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    webp = ctypes.CDLL(library)
    shared = mmap.mmap(handle, 0)
    pixels = ctypes.addressof(ctypes.c_char.from_buffer(shared))
    # WebPDecoderConfig: 40 bytes about the file, then where the pixels go, and options.
    config = ctypes.create_string_buffer(512)
    if not webp.WebPInitDecoderConfigInternal(config, _INTERFACE):
        return FAILED
    struct.pack_into("@iiiiPiN", config, 40, int(channels == 4), 0, 0, 1, pixels, stride, size)
    pages = os.read(os.open("/proc/self/statm", os.O_RDONLY), 200).split()
    total, private = (int(pages[at]) * resource.getpagesize() for at in (0, 5))
    for kind, taken in ((resource.RLIMIT_DATA, private), (resource.RLIMIT_AS, total)):
        resource.setrlimit(kind, (taken + memory, taken + memory))
    status = webp.WebPDecode(ctypes.c_void_p(pixels + size), ctypes.c_size_t(len(shared) - size), config)
    # libwebp calls some failed allocations damage: of long codes, and of some tables for transparency.
    return {0: DECODED, _STATUS_OUT_OF_MEMORY: OUT_OF_MEMORY}.get(status, DAMAGED)


if __name__ == "__main__":
    os._exit(_decode(sys.argv[1], *map(int, sys.argv[2:])))
