"""Pictures in the table of costly requests: many pixels, modes that take more bytes, scans, and damaged files."""

from __future__ import annotations

from base64 import b64encode

from tests.given.costly import ANSWERED, BUSY, REFUSED, Body, Costly, Send, infer, post, rows
from tests.given.costly_bodies import form, inputs, pictures, repeated
from tests.given.hostile_pictures import (
    animated_webp,
    apng,
    encoded_jpeg,
    exif,
    extended_webp,
    flat_animated_webp,
    flat_jpeg,
    flat_png,
    flat_webp,
    jpeg_of_size,
    jpeg_with_repeated_scans,
    jpeg_with_segments,
    png_with_chunk,
    png_with_late_profile,
    png_with_torn_exif,
    soft_pixels,
    webp_of_many_groups,
)

FORM = "multipart/form-data; boundary=x"
WIDE, HIGH = 8000, 6000
"""48 million pixels."""
EITHER = REFUSED | BUSY | ANSWERED
"""A picture within the limits is answered. What matters is what it costs."""


def classify(picture: Body) -> Send:
    return post("/classify", picture)


def predict(picture: Body, count: int) -> Send:
    return post("/predict", lambda: inputs(repeated(b'"' + b64encode(picture()) + b'"', count), "image"))


def progressive(columns: int, rows: int) -> bytes:
    """A progressive JPEG of a few scans whose header claims another size."""
    return jpeg_of_size(encoded_jpeg(soft_pixels(16, 16), progressive=True), columns, rows)


PICTURES: list[Costly] = [
    *rows(
        "pixels of a picture",
        "colour",
        {
            "WebP": classify(lambda: flat_webp(WIDE, HIGH)),
            "WebP, EXIF": classify(lambda: extended_webp(WIDE, HIGH, flags=0x18, chunks=[(b"EXIF", exif())])),
            "animated WebP, 100 frames": classify(lambda: flat_animated_webp(WIDE, HIGH, 100)),
            "animated WebP, 20,000 frames": classify(lambda: flat_animated_webp(100, 100, 20_000)),
            "WebP, 16,000 x 3,000": classify(lambda: flat_webp(16_000, 3_000)),
            "WebP, 65,536 groups of codes": classify(webp_of_many_groups),
            "WebP, gRPC": infer(lambda: pictures(flat_webp(WIDE, HIGH))),
            **{
                f"PNG {mode}": classify(lambda mode=mode: flat_png(WIDE, HIGH, mode))  # type: ignore[misc]
                for mode in ("LA", "RGBA;16", "P+tRNS", "RGB;16", "RGB+tRNS", "LA;16", "I;16", "1")
            },
            "PNG RGBA, interlaced": classify(lambda: flat_png(WIDE, HIGH, "RGBA", interlaced=True)),
            "PNG RGB, 1 x 48,000,000": classify(lambda: flat_png(1, WIDE * HIGH)),
            "PNG RGB, 48,000,000 x 1": classify(lambda: flat_png(WIDE * HIGH, 1)),
            "PNG LA, form": post("/classify", lambda: form(flat_png(WIDE, HIGH, "LA")), content_type=FORM),
            "PNG P+tRNS, base64": predict(lambda: flat_png(WIDE, HIGH, "P+tRNS"), 1),
            "PNG RGBA;16, gRPC": infer(lambda: pictures(flat_png(WIDE, HIGH, "RGBA;16"))),
            "PNG of 12 million RGBA": classify(lambda: flat_png(4000, 3000, "RGBA")),
            "PNG, IDATs of 10 bytes": classify(lambda: flat_png(4000, 3000, idat=10)),
            "JPEG": classify(lambda: flat_jpeg(WIDE, HIGH)),
            "JPEG, EXIF": classify(lambda: jpeg_with_segments(flat_jpeg(WIDE, HIGH), 0xE1, b"Exif\0\0" + exif())),
            "JPEG of 65,500 x 700": classify(lambda: flat_jpeg(65_500, 700)),
            "grey JPEG": classify(lambda: flat_jpeg(WIDE, HIGH, grey=True)),
            "progressive JPEG": classify(lambda: progressive(WIDE, HIGH)),
            "CMYK JPEG": classify(lambda: jpeg_of_size(encoded_jpeg(soft_pixels(16, 16), "CMYK"), WIDE, HIGH)),
        },
        EITHER,
    ),
    *rows(
        "pixels of a request",
        "colour",
        {
            "64 JPEGs of 4000 x 4000": predict(lambda: jpeg_of_size(encoded_jpeg(soft_pixels(64, 64)), 4000, 4000), 64),
            "64 PNGs of 4000 x 4000": predict(lambda: flat_png(4000, 4000), 64),
            "9 whole JPEGs of 4000 x 4000": predict(lambda: flat_jpeg(4000, 4000), 9),
            "128 WebPs of 4000 x 4000, gRPC": infer(lambda: pictures(*128 * [flat_webp(4000, 4000)])),
            "128 PNGs of 600 x 600, gRPC": infer(lambda: pictures(*128 * [flat_png(600, 600, "RGBA")])),
            "12 requests with 12 million": infer(*12 * [lambda: pictures(flat_png(4000, 3000))]),
            "12 WebPs of 12 million": infer(*12 * [lambda: pictures(flat_webp(4000, 3000))]),
        },
        EITHER,
    ),
    *rows(
        "scans of a JPEG",
        "colour",
        {
            "900 kB of scans": classify(lambda: jpeg_with_repeated_scans(4000, 3000, 25_000)),
            "900 kB of scans, grey": classify(lambda: jpeg_with_repeated_scans(4000, 3000, 25_000, grey=True)),
            "490 scans of 48 million pixels": classify(lambda: jpeg_with_repeated_scans(WIDE, HIGH, 490)),
            "900 kB of scans, gRPC": infer(lambda: pictures(jpeg_with_repeated_scans(4000, 3000, 25_000))),
            "90 scans in each of 16": predict(lambda: jpeg_with_repeated_scans(1700, 1700, 90), 16),
            "15 MB of comments": classify(lambda: jpeg_with_segments(flat_jpeg(64, 64), 0xFE, b"", 3_700_000)),
            "15 MB of EXIF": classify(
                lambda: jpeg_with_segments(flat_jpeg(64, 64), 0xE1, b"Exif\0\0" + exif(), 300_000)
            ),
        },
        EITHER,
    ),
    *rows(
        "damaged pictures",
        "colour",
        {
            "PNG, EXIF ends early": classify(lambda: png_with_torn_exif(flat_png(64, 64))),
            "PNG, late EXIF ends early": classify(lambda: png_with_torn_exif(flat_png(64, 64), after_pixels=True)),
            "PNG, late profile": classify(lambda: png_with_late_profile(flat_png(64, 64))),
            "PNG, 500,000 text chunks": classify(
                lambda: png_with_chunk(flat_png(64, 64), b"tEXt", b"a\0b", times=500_000)
            ),
            "PNG, 500,000 late text chunks": classify(
                lambda: png_with_chunk(flat_png(64, 64), b"tEXt", b"a\0b", after_pixels=True, times=500_000)
            ),
            "APNG": classify(lambda: apng(1000, 1000)),
            "animated WebP": classify(lambda: animated_webp(1000, 1000)),
            "half a JPEG, gRPC": infer(lambda: pictures(flat_jpeg(640, 480)[:2000])),
        },
        EITHER,
    ),
]
