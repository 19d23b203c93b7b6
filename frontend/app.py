"""The demo: ``streamlit run frontend/app.py``. It works with any model that the server at ``LADING_URL`` serves."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

# Streamlit puts this file's folder on the path; the package is in the folder above.
sys.path.insert(0, str(Path(__file__).parents[1]))

import streamlit as st

from frontend.client import Answered, Client, DemoError
from frontend.molecule import draw_smiles
from frontend.probabilities import label_rows, markdown_table, number_rows, plain

HISTORY = 20


def main() -> None:
    """The page, top to bottom. Streamlit runs it again at each click."""
    st.set_page_config(page_title="Lading", page_icon=":ship:", layout="centered")
    configured = os.environ.get("LADING_URL", "http://127.0.0.1:8080")
    typed = st.sidebar.text_input("Server", configured)
    client = Client.of_visitor(typed, configured, os.environ.get("LADING_KEY", ""))
    try:
        model = client.model()
    except DemoError as error:
        st.error(str(error))
        st.stop()
    st.title(model["name"])
    st.caption(f"{model['description']} · version {model['version']} · variant {model['variant']}")
    if model["classify"]:
        ask_file(client, model["file"])
    for form in model.get("texts", []):
        ask_text(client, form)
    if not model["classify"]:
        ask_numbers(client, model)
    show_answer(client, model)
    show_history()


def ask_file(client: Client, kind: dict[str, Any]) -> None:
    """A file of the kind that the model reads; for pictures also the camera."""
    title = kind["noun"].capitalize()
    pictures = kind["media_types"][0].startswith("image/")
    tabs = st.tabs(["Upload a file", "Take a photo"] if pictures else ["Upload a file"])
    file = tabs[0].file_uploader(title, type=[suffix.removeprefix(".") for suffix in kind["suffixes"]])
    if pictures:
        # A toggle, because a browser asks for permission as soon as the page has a camera input.
        file = file or (tabs[1].camera_input(title) if tabs[1].toggle("Use the camera") else None)
    if file is not None and file.file_id != st.session_state.get("asked"):
        st.session_state.asked = file.file_id
        content = file.getvalue()
        shown = {"picture": content, "media_type": kind["media_types"][0]} if pictures else {}
        remember(lambda: client.classify(content), {**shown, "name": file.name})


def ask_text(client: Client, form: dict[str, Any]) -> None:
    """A text that the server reads, such as SMILES."""
    with st.form(f"text-{form['name']}"):
        text = st.text_input(form["label"], form["example"])
        if st.form_submit_button("Ask") and text:
            remember(lambda: client.read_text(form["name"], text), {"text": text, "name": text})


def ask_numbers(client: Client, model: dict[str, Any]) -> None:
    """The request as JSON, for any model."""
    with st.expander("Send JSON", expanded=not model.get("texts")), st.form("json"):
        body = st.text_area("Inputs by name", json.dumps(model["example"] or {}), height=160)
        if st.form_submit_button("Ask with JSON"):
            try:
                inputs = json.loads(body)
            except json.JSONDecodeError as error:
                st.error(f"this is not JSON: {error}")
                return
            remember(lambda: client.predict(inputs), {"name": "JSON"})


def remember(ask: Any, shown: dict[str, Any]) -> None:
    """Send a request, and put its answer at the top of the history."""
    try:
        answered: Answered = ask()
    except DemoError as error:
        st.session_state.problem = str(error)
        return
    st.session_state.problem = ""
    history = st.session_state.setdefault("history", [])
    history.insert(0, {**shown, "answered": answered})
    del history[HISTORY:]


def show_answer(client: Client, model: dict[str, Any]) -> None:
    """The latest answer: the input, probabilities or numbers, and a form for feedback."""
    if st.session_state.get("problem"):
        st.error(st.session_state.problem)
        return
    history = st.session_state.get("history", [])
    if not history:
        return
    newest = history[0]
    answered: Answered = newest["answered"]
    left, right = st.columns(2)
    with left:
        if "picture" in newest:
            show_picture(newest["picture"], newest["media_type"])
        elif drawing := draw_smiles(newest.get("text", "")):
            show_picture(drawing.encode(), "image/svg+xml")
    with right:
        show_values(answered, model)
        st.caption(f"{answered.ms:.1f} ms · {answered.request_id}")
    tell_truth(client, model, answered)


def show_picture(content: bytes, media_type: str) -> None:
    """A picture as the browser reads it. st.image needs NumPy, which is a tenth of the image that ships this page."""
    st.html(f'<img style="max-width:100%" src="data:{media_type};base64,{base64.b64encode(content).decode()}">')


def show_values(answered: Answered, model: dict[str, Any]) -> None:
    """Bars for labels, a table for numbers."""
    charts = label_rows(answered.content)
    for output, rows in charts.items():
        st.metric(output, str(answered.content.get(output, "")))
        for row in rows:
            st.progress(min(max(row["probability"], 0.0), 1.0), f"{plain(row['label'])} {row['probability']:.3g}")
    if not charts:
        st.markdown(markdown_table(number_rows(answered.content, model["outputs"])))


def tell_truth(client: Client, model: dict[str, Any], answered: Answered) -> None:
    """A form for the right answer, which is sent to the server's ``/feedback``."""
    labelled = [output for output in model["outputs"] if output.get("labels")]
    if not model["classify"] or not labelled:
        return
    with st.form("feedback"):
        st.write("What is the right answer?")
        truth = {
            output["name"]: st.selectbox(
                output["name"], output["labels"], index=output["labels"].index(answered.content[output["name"]])
            )
            for output in labelled
        }
        if st.form_submit_button("Send feedback"):
            try:
                client.tell(answered.request_id, truth)
            except DemoError as error:
                st.warning(str(error))
            else:
                st.success("Thank you. It counts towards the live accuracy.")


def show_history() -> None:
    """Earlier requests."""
    history = st.session_state.get("history", [])
    if len(history) > 1:
        st.subheader("Earlier requests")
        st.markdown(
            markdown_table(
                [
                    {
                        "asked": entry["name"],
                        "answer": ", ".join(
                            str(value)
                            for key, value in entry["answered"].content.items()
                            if isinstance(value, str) and key not in ("model", "variant")
                        )
                        or entry["answered"].content.get("variant", ""),
                        "ms": round(entry["answered"].ms, 1),
                    }
                    for entry in history[1:]
                ]
            )
        )


main()
