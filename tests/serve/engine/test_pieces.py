"""A body in pieces is the same body, and many small pieces take little more memory than their bytes."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from lading.serve.engine.pieces import Pieces
from tests.given.work import bytes_taken


@given(st.lists(st.binary(max_size=5)), st.integers(1, 700))
def test_pieces_become_the_body_in_their_order(some: list[bytes], times: int) -> None:
    pieces = Pieces()
    for piece in some * times:
        pieces.add(piece)
    whole = b"".join(some * times)
    assert pieces.size == len(whole)
    assert pieces.take() == whole


def filled(some: Iterable[bytes]) -> Pieces:
    pieces = Pieces()
    for piece in some:
        pieces.add(piece)
    return pieces


def test_a_million_pieces_of_one_byte_take_a_few_megabytes() -> None:
    assert bytes_taken(lambda: filled(bytes([number % 256]) for number in range(1_000_000))) < 2_500_000


def test_large_pieces_are_not_joined_as_they_arrive() -> None:
    piece = bytes(16_384)
    assert bytes_taken(lambda: filled(piece for _ in range(3_000))) < 1_000_000
    assert filled([piece] * 3_000).take() == piece * 3_000
