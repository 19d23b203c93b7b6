"""Kaggle's ``gpiosenka/cards-image-datasetclassification``: 53 folders of card images under train, valid and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from rich.progress import track

from lading.content.image import decode_image
from lading.errors import DataError, RequestError
from lading.spec import Example
from models.card_decks.labels import BY_NAME, Card
from models.card_decks.photo_file import PhotoFile, cache_root, write_photos
from models.card_decks.rendered import SIZE, targets

DATASET = "gpiosenka/cards-image-datasetclassification"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


class KaggleCards:
    """Pictures of one split, packed into one file the first time.

    Args:
        split: ``train``, ``valid`` or ``test``.
        root: folder that holds the splits; by default it is downloaded through ``kagglehub``, which keeps it.
        cache: folder of the packed files; default: below ``LADING_DATA`` or ``~/.cache/lading``.

    Raises:
        DataError: the download failed, a split or class folder is missing or unknown, or a picture cannot be read.
    """

    def __init__(self, split: str, *, root: Path | None = None, cache: Path | None = None) -> None:
        folder = (root or _download()) / split
        if not folder.is_dir():
            raise DataError(f"{folder} is missing: the data set has the folders train, valid and test")
        files = sorted(file for file in folder.glob("*/*") if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise DataError(f"{folder} holds no pictures in folders such as 'ace of clubs'")
        self.fingerprint = _fingerprint(folder, files)
        path = (cache or cache_root() / "cards-kaggle") / f"{split}-{self.fingerprint[:12]}.photos"
        if not path.is_file():
            write_photos(path, _read(files, split))
        self._photos = PhotoFile(path)

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> Example:
        """Inputs {"image": uint8 (224, 224, 3)}, targets {"suit": int64 (), "rank": int64 ()}."""
        data, card = self._photos[index]
        return {"image": decode_image(data, height=SIZE, width=SIZE)}, targets(card)


def _download() -> Path:
    """The data set's folder, downloaded once. Without a network, an earlier download in kagglehub's cache is used."""
    import kagglehub

    try:
        return Path(kagglehub.dataset_download(DATASET))
    except Exception as error:  # kagglehub raises whatever its transport raises.
        kept = _newest_complete(Path(kagglehub.config.get_cache_folder()) / "datasets" / DATASET)
        if kept is not None:
            return kept
        raise DataError(
            f"{DATASET} cannot be downloaded ({type(error).__name__}: {error}); name a folder that holds it with "
            "model.root=FOLDER, or train on rendered decks with model.data=rendered"
        ) from error


def _newest_complete(folder: Path) -> Path | None:
    """The newest complete version. For version N, kagglehub writes a file ``N.complete`` next to ``versions``."""
    whole = [int(file.stem) for file in folder.glob("*.complete") if file.stem.isdigit()]
    versions = [folder / "versions" / str(version) for version in sorted(whole, reverse=True)]
    return next((version for version in versions if version.is_dir()), None)


def _read(files: list[Path], split: str) -> Iterator[tuple[bytes, Card]]:
    for file in track(files, f"packing {split} pictures"):
        card = BY_NAME.get(file.parent.name.strip().lower())
        if card is None:
            raise DataError(f"{file.parent} is not named for a card; names are such as 'ace of clubs' and 'joker'")
        data = file.read_bytes()
        try:
            decode_image(data, height=SIZE, width=SIZE)
        except RequestError as error:
            raise DataError(f"{file}: {error}") from error
        yield data, card


def _fingerprint(folder: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(folder)} {file.stat().st_size}\n".encode())
    return digest.hexdigest()
