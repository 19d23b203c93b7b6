"""``POST /classify`` on a real server."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import httpx
import pytest
from PIL import Image

from lading.budget import Budget
from lading.protocol.plain import Classifier, classifier
from tests.given.live_server import LiveServer, live_server
from tests.given.pictures import Encode
from tests.given.small_artifacts import picture_artifact

RED = {"colour": "red", "shade": "bright"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_of_every_format_is_classified(pictures: LiveServer, encode: Encode, kind: str) -> None:
    answer = pictures.client.post("/classify", content=encode(kind), headers={"content-type": f"image/{kind.lower()}"})
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in RED} == RED


def test_the_answer_has_every_label_with_its_probability(pictures: LiveServer, encode: Encode) -> None:
    answer = pictures.client.post("/classify", content=encode()).json()
    assert list(answer) == ["colour", "shade", "confidence", "probabilities", "model", "variant"]
    assert list(answer["probabilities"]["colour"]) == ["red", "green", "blue"]
    for probabilities in answer["probabilities"].values():
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    joint = answer["probabilities"]["colour"]["red"] * answer["probabilities"]["shade"]["bright"]
    assert answer["confidence"] == pytest.approx(joint, abs=1e-4)
    assert (answer["model"], answer["variant"]) == ("small-colour", "fp32")


@pytest.mark.parametrize(
    "content_type",
    [None, "application/octet-stream", "application/x-www-form-urlencoded", "image/jpeg", "IMAGE/PNG; q=1"],
)
def test_what_the_bytes_are_counts_for_more_than_the_content_type(
    pictures: LiveServer, encode: Encode, content_type: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = pictures.client.post("/classify", content=encode(), headers=headers)
    assert answer.json()["colour"] == "red"


@pytest.mark.parametrize("field", ["file", "image", "", "a field with spaces", "карта"])
def test_a_form_may_call_its_file_anything(pictures: LiveServer, encode: Encode, field: str) -> None:
    answer = pictures.client.post("/classify", files={field: ("photo.jpg", encode(), "image/jpeg")})
    assert answer.json()["colour"] == "red"


def test_the_same_picture_gets_the_same_answer_raw_and_as_a_form(pictures: LiveServer, encode: Encode) -> None:
    raw = pictures.client.post("/classify", content=encode("PNG")).json()
    form = pictures.client.post("/classify", files={"f": encode("PNG")}).json()
    assert raw == form


def test_exif_rotation_is_honoured(tmp_path: Path, encode: Encode) -> None:
    """The upper half is black and the lower white; turned by EXIF, the halves swap."""
    how = classifier(picture_artifact(tmp_path / "picture"))
    assert isinstance(how, Classifier)
    picture = Image.new("RGB", (64, 64), "black")
    picture.paste("white", (0, 32, 64, 64))
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    upright = how.content.decode(encode("JPEG", picture, quality=95), how.input, Budget()).astype(int)
    turned = how.content.decode(encode("JPEG", picture, quality=95, exif=exif), how.input, Budget()).astype(int)
    assert upright[-1].mean() - upright[0].mean() > 200
    assert turned[0].mean() - turned[-1].mean() > 200


def test_many_pictures_at_once_each_get_their_own_answer(pictures: LiveServer, encode: Encode) -> None:
    colours = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
    bodies = {name: encode("PNG", Image.new("RGB", (40, 40), colour)) for name, colour in colours.items()}

    async def ask() -> list[tuple[str, str]]:
        limits = httpx.Limits(max_connections=16)
        async with httpx.AsyncClient(base_url=pictures.url, timeout=30, limits=limits) as client:

            async def one(name: str) -> tuple[str, str]:
                return name, (await client.post("/classify", content=bodies[name])).json()["colour"]

            return await asyncio.gather(*(one(name) for name in [*colours] * 16))

    assert all(sent == answered for sent, answered in asyncio.run(ask()))


def test_a_model_whose_outputs_are_no_probabilities_answers_with_scores(tmp_path: Path, encode: Encode) -> None:
    with live_server(picture_artifact(tmp_path / "scores", softmax=False)) as live:
        answer = live.client.post("/classify", content=encode(picture=Image.new("RGB", (8, 8), "white"))).json()
        schema = live.client.get("/docs.json").json()["paths"]["/classify"]["post"]["responses"]["200"]
    assert answer["shade"] == "bright"
    assert "confidence" not in answer
    assert answer["scores"]["shade"]["bright"] > answer["scores"]["shade"]["dark"]
    assert "scores" in schema["content"]["application/json"]["schema"]["required"]


def test_an_output_that_would_hide_a_field_of_the_answer_is_not_classified(tmp_path: Path) -> None:
    why = classifier(picture_artifact(tmp_path / "clash", output="model"))
    assert isinstance(why, str)
    assert "an output named 'model'" in why


def test_a_model_without_pictures_has_no_classify_and_says_where_to_go(table: LiveServer, encode: Encode) -> None:
    answer = table.client.post("/classify", content=encode())
    assert answer.status_code == 404
    assert answer.json()["error"] == (
        "the model 'small-table' does not take one encoded file, such as a picture: send its inputs to /predict as JSON"
    )


def test_a_large_picture_in_a_form_stays_in_memory(pictures: LiveServer, encode: Encode) -> None:
    noise = Image.effect_noise((300, 300), 80).convert("RGB")
    body = encode("PNG", noise)
    assert 100_000 < len(body) < 300_000
    assert pictures.client.post("/classify", files={"f": io.BytesIO(body)}).status_code == 200
