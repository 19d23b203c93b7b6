"""The cards' pictures: rendered decks, Kaggle's layout, and what training changes in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lading.decode import decode_image
from lading.errors import DataError
from models.card_decks import CARDS, RANKS, SUITS, Card, KaggleCards, RenderedDecks, augment
from models.card_decks.faces import draw_back, draw_card
from models.card_decks.fonts import Lettering, font_files, glyphs
from models.card_decks.photo_file import PhotoFile, write_photos
from models.card_decks.rendered import PHOTOS_A_DECK
from models.card_decks.shapes import bezier, diamond, heart
from models.card_decks.style import sample_style


def test_there_are_53_cards_and_each_has_its_own_name() -> None:
    assert len({card.name for card in CARDS}) == 53
    assert Card("clubs", "ace").name == "ace of clubs"
    assert [card.pips for card in CARDS[:13]] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0, 0]


def test_no_font_of_a_held_out_deck_is_in_training() -> None:
    train, held_out = font_files(held_out=False), font_files(held_out=True)
    assert len(train) >= 30
    assert len(held_out) >= 10
    families = [{file.stem.split("-")[0] for file in files} for files in (train, held_out)]
    assert not families[0] & families[1]


def test_held_out_styles_choose_from_other_court_art_aces_and_jokers() -> None:
    train = [sample_style(seed, held_out=False) for seed in range(200)]
    test = [sample_style(seed, held_out=True) for seed in range(200)]
    assert not {style.court for style in train} & {style.court for style in test}
    assert not {style.joker for style in train} & {style.joker for style in test}
    assert not {style.lettering.font for style in train} & {style.lettering.font for style in test}


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
    with pytest.raises(DataError, match=r"deck\.photos is torn: delete it"):
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


def test_kaggles_folders_are_read_with_their_labels(tmp_path: Path) -> None:
    root = kaggle_tree(tmp_path / "kaggle", ["ace of clubs", "joker", "ten of hearts"])
    cards = KaggleCards("train", root=root, cache=tmp_path / "cache")
    labels = {(SUITS[int(target["suit"])], RANKS[int(target["rank"])]) for _, target in (cards[i] for i in range(6))}
    assert labels == {("clubs", "ace"), ("joker", "joker"), ("hearts", "ten")}
    assert cards[0][0]["image"].shape == (224, 224, 3)
    assert len(cards) == 6


def test_kaggles_pictures_are_packed_once(tmp_path: Path) -> None:
    root = kaggle_tree(tmp_path / "kaggle", ["joker"])
    KaggleCards("valid", root=root, cache=tmp_path / "cache")
    (packed,) = (tmp_path / "cache").iterdir()
    written = packed.stat().st_mtime_ns
    KaggleCards("valid", root=root, cache=tmp_path / "cache")
    assert packed.stat().st_mtime_ns == written


def test_a_folder_that_is_no_card_a_torn_picture_and_a_missing_split_are_named(tmp_path: Path) -> None:
    root = kaggle_tree(tmp_path / "kaggle", ["ace of cups"])
    with pytest.raises(DataError, match="ace of cups is not named for a card"):
        KaggleCards("train", root=root, cache=tmp_path)
    torn = kaggle_tree(tmp_path / "torn", ["joker"])
    (torn / "train" / "joker" / "0.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"0\.jpg: "):
        KaggleCards("train", root=torn, cache=tmp_path)
    with pytest.raises(DataError, match="train, valid and test"):
        KaggleCards("extra", root=root, cache=tmp_path)


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


def kaggle_tree(root: Path, names: list[str]) -> Path:
    """A tiny tree in Kaggle's layout: two pictures a card and split."""
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        for name in names:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 256, size=(60, 44, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return root
