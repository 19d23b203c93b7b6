"""The cards' pictures: rendered decks, Kaggle's layout, and what training changes in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lading.content.image import decode_image
from lading.errors import DataError
from models.card_decks import CARDS, RANKS, SUITS, Card, FreshDecks, RenderedDecks, augment, courts, signs
from models.card_decks.canvas import Canvas, placed
from models.card_decks.faces import draw_back, draw_card
from models.card_decks.fonts import Lettering, font_files, glyphs
from models.card_decks.pen import ALPHABET, CAPITAL, written
from models.card_decks.photo_file import PhotoFile, write_photos
from models.card_decks.rendered import PHOTOS_A_DECK, style_of
from models.card_decks.shapes import bezier, crown, diamond, heart
from models.card_decks.signs import SIGNS, Draw
from models.card_decks.style import INDEX_ONLY, WIDE_COURTS, sample_style


def test_there_are_53_cards_and_each_has_its_own_name() -> None:
    assert len({card.name for card in CARDS}) == 53
    assert Card("clubs", "ace").name == "ace of clubs"
    assert [card.pips for card in CARDS[:13]] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0, 0]


def test_no_font_of_a_held_out_deck_is_in_training() -> None:
    train, held_out = font_files(held_out=False, wide=True), font_files(held_out=True)
    assert len(train) >= 30
    assert len(held_out) >= 10
    families = [{file.stem.split("-")[0] for file in files} for files in (train, held_out)]
    assert not families[0] & families[1]


def test_held_out_styles_choose_from_other_court_art_aces_and_jokers() -> None:
    train = [sample_style(seed, held_out=False, wide=wide) for seed in range(200) for wide in (False, True)]
    test = [sample_style(seed, held_out=True) for seed in range(200)]
    assert not {style.court for style in train} & {style.court for style in test}
    assert not {style.joker for style in train} & {style.joker for style in test}
    assert not {style.lettering.font for style in train} & {style.lettering.font for style in test}


def test_training_decks_show_no_crown_over_a_pip_and_held_out_decks_no_sign_or_written_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crown stands on a person's head in training, and over a pip in held-out decks alone."""
    crowned: list[str] = []

    def watched(points: int, height: float, round_tips: bool) -> list[NDArray[np.float64]]:
        crowned.append(art)
        return crown(points, height, round_tips)

    monkeypatch.setattr(courts, "crown", watched)
    for art in WIDE_COURTS:
        draw_card(replace(sample_style(3, held_out=False, wide=True), court=art), Card("hearts", "king"))
    assert "figure" in crowned
    assert not set(crowned) & set(courts.FLAT)
    assert not hasattr(signs, "crown")
    held_out = [sample_style(seed, held_out=True) for seed in range(200)]
    assert {style.lettering.hand for style in held_out} == {None}
    assert {(style.lettering.weight, style.lettering.slant, style.lettering.bend) for style in held_out} == {
        (0, 0, None)
    }
    assert "sign" not in {style.layout for style in held_out} | {style.court for style in held_out}


def test_wide_decks_draw_their_suits_by_many_hands_and_a_plain_deck_as_before() -> None:
    wide = [sample_style(seed, held_out=False, wide=True).shapes for seed in range(40)]
    plain = [sample_style(seed, held_out=False).shapes for seed in range(40)]
    for suit in ("hearts", "spades", "diamonds", "clubs"):
        outlines = [np.concatenate(shapes[suit]) for shapes in wide]
        alike = sum(
            np.array_equal(outline, np.concatenate(shapes[suit]))
            for outline, shapes in zip(outlines, plain, strict=True)
        )
        assert alike < 20
        assert max(np.abs(outline).max() for outline in outlines) <= 1.2


def test_wide_decks_print_nines_as_tens_without_a_pip_and_light_suits_on_their_own_colour() -> None:
    wide = [sample_style(seed, held_out=False, wide=True) for seed in range(200)]
    assert {"offset", "columns", "standard"} <= {style.layout for style in wide}
    assert 0 < sum(style.inverse for style in wide) < sum(style.disguised for style in wide) < len(wide)
    plain = [sample_style(seed, held_out=held_out) for seed in range(200) for held_out in (False, True)]
    assert not any(style.layout == "offset" or style.inverse or style.disguised for style in plain)
    style = replace(sample_style(3, held_out=False, wide=True), inverse=True, texture=0.0, frame=None)
    for suit in ("hearts", "spades"):
        edge = draw_card(style, Card(suit, "two"))[224, 4, :3].astype(int)
        assert np.abs(edge - np.array(style.colours[suit]) * 0.6).max() <= 1


def test_a_data_set_may_begin_at_any_deck(tmp_path: Path) -> None:
    later = RenderedDecks("train", 2, first=3, cache=tmp_path)
    assert later.photo(1) == RenderedDecks("train", 4 * PHOTOS_A_DECK, cache=tmp_path).photo(3 * PHOTOS_A_DECK + 1)


def test_the_first_decks_stay_what_the_reference_checkpoint_was_trained_on_and_those_after_them_are_wide() -> None:
    edges = [("train", 699), ("train", 700), ("valid", 9), ("valid", 10)]
    assert [style_of(split, deck).wide for split, deck in edges] == [False, True, False, True]
    fonts, more = font_files(held_out=False), font_files(held_out=False, wide=True)
    assert more[: len(fonts)] == fonts
    assert len(more) > len(fonts)
    styles = [sample_style(seed, held_out=False) for seed in range(100)]
    assert {style.lettering.font for style in styles} <= set(fonts)
    assert all(style.lettering == Lettering(style.lettering.font, style.lettering.stretch) for style in styles)
    assert "sign" not in {style.layout for style in styles} | {style.court for style in styles}
    wide = [sample_style(seed, held_out=False, wide=True) for seed in range(200)]
    assert sum(style.layout in INDEX_ONLY for style in wide) > 50
    assert 30 < sum(style.lettering.hand is not None for style in wide) < 90


def test_the_middle_of_a_deck_that_says_its_number_in_the_index_alone_is_the_same_on_every_card() -> None:
    for layout in ("large", "sign"):
        style = replace(sample_style(4, held_out=False), layout=layout)
        four, nine = (draw_card(style, Card("clubs", rank)) for rank in ("four", "nine"))
        rows, columns = (slice(side // 4, -side // 4) for side in four.shape[:2])
        assert np.array_equal(four[rows, columns], nine[rows, columns])
        assert not np.array_equal(four, nine)


@pytest.mark.parametrize("sign", SIGNS)
def test_every_sign_stays_in_its_box_and_has_a_surface(sign: Draw) -> None:
    for seed in range(20):
        canvas = Canvas(100, 100, (0, 0, 0))
        shapes = sign(np.random.default_rng(seed))
        assert np.abs(np.concatenate(shapes)).max() < 2
        canvas.fill(placed(shapes, 50, 50, 25, 25), (255, 255, 255))
        assert canvas.pixels[..., 0].mean() > 8


def test_a_hand_writes_every_index_differently_and_always_alike() -> None:
    for hand in (1, 2, 3):
        letters = {letter: written(letter, hand) for letter in ALPHABET}
        assert len({mask.tobytes() for mask in letters.values()}) == len(ALPHABET)
        assert np.array_equal(written("Q", hand), letters["Q"])
        assert all(abs(mask.shape[0] - CAPITAL) < 40 for mask in letters.values())
    assert written("10", 1).shape[1] > written("1", 1).shape[1] + written("0", 1).shape[1]
    assert not np.array_equal(written("7", 1), written("7", 2))


@given(
    st.sampled_from(font_files(held_out=False, wide=True)),
    st.sampled_from(["A", "10", "Q"]),
    st.floats(-0.05, 0.08),
    st.floats(-0.4, 0.4),
    st.none() | st.integers(0, 99),
)
def test_letters_keep_their_height_and_ink_however_they_are_printed(
    font: Path, word: str, weight: float, slant: float, bend: int | None
) -> None:
    plain = glyphs(Lettering(font, 0.8), word, 40)
    changed = glyphs(Lettering(font, 0.8, weight, slant, bend), word, 40)
    assert abs(changed.shape[0] - plain.shape[0]) <= 1
    assert changed.sum() > 0.2 * plain.sum()


def test_a_held_out_heart_parts_less_deeply_than_any_of_training() -> None:
    def notch(seed: int, *, held_out: bool) -> float:
        (outline,) = sample_style(seed, held_out=held_out).shapes["hearts"]
        return float(outline[np.abs(outline[:, 0]) < 1e-9, 1].min())

    assert max(notch(seed, held_out=True) for seed in range(60)) < min(
        notch(seed, held_out=False) for seed in range(60)
    )


def test_the_same_seed_draws_the_same_card() -> None:
    first, again, other = (draw_card(sample_style(seed, held_out=False), CARDS[24]) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_the_53_cards_of_a_deck_all_look_different() -> None:
    style = sample_style(0, held_out=True)
    faces = {draw_card(style, card).tobytes() for card in CARDS}
    assert len(faces) == 53
    assert draw_back(style).tobytes() not in faces


def test_a_card_has_transparent_corners_and_a_solid_middle() -> None:
    face = draw_card(sample_style(1, held_out=False), CARDS[0])
    assert face.dtype == np.uint8
    assert face[0, 0, 3] == 0
    assert face[face.shape[0] // 2, face.shape[1] // 2, 3] == 255


@pytest.mark.parametrize("split", ["train", "valid", "test", "test_in_style"])
def test_a_prepared_picture_is_the_one_that_is_rendered_on_the_fly(split: str, tmp_path: Path) -> None:
    lazy = RenderedDecks(split, PHOTOS_A_DECK, cache=tmp_path)
    before = [lazy.photo(index) for index in (0, 57, 105)]
    prepared = RenderedDecks(split, PHOTOS_A_DECK, cache=tmp_path).prepare()
    assert [prepared.photo(index) for index in (0, 57, 105)] == before


def test_several_processes_render_what_one_does(tmp_path: Path) -> None:
    one = RenderedDecks("test", 2 * PHOTOS_A_DECK, cache=tmp_path / "one", workers=1).prepare()
    two = RenderedDecks("test", 2 * PHOTOS_A_DECK, cache=tmp_path / "two", workers=2).prepare()
    assert all(one.photo(index) == two.photo(index) for index in range(0, len(one), 7))


def test_a_prepared_set_is_not_rendered_again(tmp_path: Path) -> None:
    decks = RenderedDecks("test", 1, cache=tmp_path).prepare()
    (file,) = decks.folder.iterdir()
    written = file.stat().st_mtime_ns
    RenderedDecks("test", 1, cache=tmp_path).prepare()
    assert file.stat().st_mtime_ns == written


def test_an_example_is_a_picture_with_its_suit_and_rank() -> None:
    decks = RenderedDecks("test", PHOTOS_A_DECK)
    inputs, targets = decks[14]
    assert inputs["image"].shape == (224, 224, 3)
    assert inputs["image"].dtype == np.uint8
    assert (SUITS[int(targets["suit"])], RANKS[int(targets["rank"])]) == ("diamonds", "two")
    jpeg, card = decks.photo(14)
    assert card.name == "two of diamonds"
    assert np.array_equal(decode_image(jpeg, height=224, width=224), inputs["image"])


def test_each_deck_shows_every_card_twice() -> None:
    seen = [number % len(CARDS) for number in range(PHOTOS_A_DECK)]
    assert all(seen.count(index) == 2 for index in range(53))


def test_another_seed_is_another_set_of_photographs() -> None:
    assert RenderedDecks("test", 1, seed=0).photo(0) != RenderedDecks("test", 1, seed=1).photo(0)
    assert RenderedDecks("test", 1, seed=0).fingerprint != RenderedDecks("test", 1, seed=1).fingerprint


def test_a_number_outside_the_set_and_an_unknown_split_are_refused() -> None:
    with pytest.raises(IndexError):
        RenderedDecks("test", 3)[3]
    with pytest.raises(DataError, match="no split 'holdout'; the splits are: train, valid"):
        RenderedDecks("holdout", 3)


@given(st.lists(st.tuples(st.binary(max_size=40), st.sampled_from(CARDS)), max_size=12))
def test_pictures_come_back_from_their_file_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, photos: list[tuple[bytes, Card]]
) -> None:
    path = tmp_path_factory.mktemp("photos") / "some.photos"
    write_photos(path, photos)
    read = PhotoFile(path)
    assert [read[index] for index in range(len(read))] == photos


def test_a_torn_file_of_pictures_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "deck.photos"
    write_photos(path, [(b"0123456789", CARDS[0])] * 3)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"deck\.photos is incomplete: delete it"):
        PhotoFile(path)
    path.write_bytes(b"something else, and long enough")
    with pytest.raises(DataError, match="is not a file of pictures"):
        PhotoFile(path)


@given(st.integers(0, 2**32))
def test_augmentation_keeps_shape_and_dtype_and_follows_its_seed(seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, size=(40, 40, 3), dtype=np.uint8)
    first, again = (augment(image, np.random.default_rng(seed)) for _ in range(2))
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)


def test_curves_and_outlines_stay_in_their_box() -> None:
    curve = bezier((0, 0), (1, 2), (2, 0))
    assert curve[0].tolist() == [0, 0]
    assert curve[-1].tolist() == [2, 0]
    for shapes in (heart(0.5, 0.3, 0.2), diamond(0.5, 0.1)):
        assert np.abs(np.concatenate(shapes)).max() <= 1.2


def test_letters_are_as_high_as_asked() -> None:
    mask = glyphs(Lettering(font_files(held_out=False)[0], 0.8), "K", 40)
    assert abs(mask.shape[0] - 40) <= 3
    assert mask.max() == 255


def test_fresh_decks_are_few_photographs_each_of_decks_that_no_split_has() -> None:
    fresh, later = FreshDecks(3, 2, workers=1), FreshDecks(1, 2, first=2, workers=1)
    assert [fresh.group(index) for index in range(6)] == [0, 0, 1, 1, 2, 2]
    pictures = [fresh[index][0]["image"] for index in range(len(fresh))]
    assert pictures[0].shape == (224, 224, 3)
    assert len({picture.tobytes() for picture in pictures}) == 6
    assert all(np.array_equal(pictures[4 + index], later[index][0]["image"]) for index in range(2))
    with pytest.raises(IndexError):
        fresh[6]
