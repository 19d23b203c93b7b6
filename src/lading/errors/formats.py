"""Names of file formats, for errors about a file that was sent by mistake."""

from __future__ import annotations

_FORMATS = {
    "a JPEG file": (b"\xff\xd8\xff",),
    "a PNG file": (b"\x89PNG",),
    "a GIF file": (b"GIF8",),
    "a TIFF file": (b"II*\0", b"MM\0*", b"II+\0"),
    "an ICO file": (b"\0\0\1\0",),
    "a Photoshop file": (b"8BPS",),
    "a JPEG XL file": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    "a JPEG 2000 file": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "a PDF document": (b"%PDF",),
    "gzip data": (b"\x1f\x8b",),
    "Zstandard data": (b"\x28\xb5\x2f\xfd",),
    "a ZIP archive": (b"PK\3\4",),
    "a NumPy file": (b"\x93NUMPY",),
    "a Parquet file": (b"PAR1",),
    "a Python pickle": (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"),
    "an MP3 file": (b"ID3",),
    "an Ogg file": (b"OggS",),
    "a FLAC file": (b"fLaC",),
    "a Matroska or WebM video": (b"\x1aE\xdf\xa3",),
    "an SVG drawing": (b"<svg",),
    "an HTML page": (b"<!doctype html", b"<html"),
    "an XML document": (b"<?xml",),
    "base64 of a JPEG file": (b"/9j/",),
    "base64 of a PNG file": (b"iVBORw0KGgo",),
    "base64 of a WebP file": (b"UklGR",),
    "a data URL": (b"data:",),
}
"""First bytes of what clients send by mistake."""
_RIFF = {b"WEBP": "a WebP file", b"WAVE": "a WAV file", b"AVI ": "an AVI file"}
_BRANDS = {
    b"avi": "an AVIF file",
    b"hei": "a HEIC file",
    b"hev": "a HEIC file",
    b"mif": "a HEIF file",
    b"msf": "a HEIF file",
}


def format_of(data: bytes) -> str | None:
    """What bytes are, from the first of them: ``a GIF file``; ``None`` for an unknown format."""
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:11], "an MP4 or QuickTime video")
    if data[128:132] == b"DICM":
        return "a DICOM file"
    if data.startswith(b"BM") and data[6:10] == bytes(4):
        return "a BMP file"
    if data.startswith(b"--") and b"content-disposition:" in data[:300].lower():
        return "a form (multipart/form-data)"
    start = data[:64].lstrip().lower() if data[:1].isspace() or data[:1] == b"<" else data[:64]
    return next((words for words, signatures in _FORMATS.items() if start.startswith(signatures)), None)
