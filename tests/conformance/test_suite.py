"""The suite itself: what it prints and writes, how it is run, and what it needs."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from conformance.servers.page import page
from oip_conformance.cli import app
from oip_conformance.connect import subjects_of
from oip_conformance.runner import Outcome, run
from oip_conformance.statement import STATEMENTS
from oip_conformance.tensors import (
    BYTES,
    CONTENTS,
    DTYPES,
    TensorMetadata,
    filled,
    from_contents,
    from_json,
    from_raw,
)
from tests.given.live_server import live_server
from tests.given.protocol_faults import LIVE, MODEL, READY, drop, put, request, status
from tests.given.protocol_messages import RIGHT
from tests.given.protocol_server import ProtocolServer, protocol_server
from tests.given.self_signed import self_signed
from tests.given.small_artifacts import table_artifact

SOURCE = Path(__file__).parents[2] / "conformance" / "src"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ProtocolServer, str, str]]:
    with protocol_server() as served:
        yield served


@pytest.fixture
def addresses(served: tuple[ProtocolServer, str, str]) -> tuple[str, ...]:
    served[0].fault = RIGHT
    return "--rest", served[1], "--grpc", served[2]


def command(*words: str) -> Result:
    return CliRunner().invoke(app, [*words])


def test_the_command_checks_all_models_that_the_server_lists(addresses: tuple[str, ...]) -> None:
    done = command(*addresses)
    assert done.exit_code == 0, done.output
    assert f"{len(STATEMENTS)} statements: " in done.output
    assert "0 failed" in done.output
    assert "Tensor Data Types" in done.output


def test_a_failed_must_is_printed_with_its_section_and_is_exit_code_1(
    addresses: tuple[str, ...], served: tuple[ProtocolServer, str, str]
) -> None:
    served[0].fault = status(LIVE, 503)
    done = command(*addresses, "--only", "rest_health")
    assert done.exit_code == 1
    assert "MUST rest_health.live: GET v2/health/live answers 200" in done.output
    assert "GET v2/health/live answers 503" in done.output
    assert "inference_rest.md#" in done.output


def test_a_failed_should_is_printed_and_is_no_error(
    addresses: tuple[str, ...], served: tuple[ProtocolServer, str, str]
) -> None:
    served[0].fault = put(READY, "ready", "yes")
    done = command(*addresses, "--only", "rest_health")
    assert done.exit_code == 0
    assert "SHOULD rest_health.ready_body" in done.output
    assert "1 failed (1 SHOULD)" in done.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "give --rest URL, --grpc HOST:PORT, or both"),
        (("--rest", "http://127.0.0.1:9"), "the server does not answer"),
        (("--rest", "http://127.0.0.1:9", "--header", "x"), "a header is written as 'name: value'"),
        (("--rest", "http://127.0.0.1:9", "--model", "m", "--input", "pyproject.toml"), "holds no inference request"),
    ],
)
def test_what_cannot_be_checked_is_exit_code_2(words: tuple[str, ...], sentence: str) -> None:
    done = command(*words)
    assert (done.exit_code, sentence in done.output) == (2, True), done.output


def test_one_address_alone_skips_the_statements_about_the_other(addresses: tuple[str, ...]) -> None:
    done = command(*addresses[2:], "--model", "echo", "--only", "grpc")
    assert done.exit_code == 0, done.output
    assert "no REST address was given" not in done.output
    assert "0 failed" in done.output


def test_results_are_written_as_junit_json_and_markdown(
    addresses: tuple[str, ...], served: tuple[ProtocolServer, str, str], tmp_path: Path
) -> None:
    served[0].fault = drop(MODEL, "platform")
    junit, as_json, markdown = (tmp_path / f"results.{kind}" for kind in ("xml", "json", "md"))
    files = ("--junit", str(junit), "--json", str(as_json), "--markdown", str(markdown))
    assert command(*addresses, "--only", "rest_metadata", *files).exit_code == 1
    suite = ElementTree.parse(junit).getroot()
    named = {case.get("name"): case for case in suite}
    assert suite.get("failures") == "1"
    assert named["model_platform"].find("failure") is not None
    skipped = named["model_platform_form"].find("skipped")  # a failed SHOULD breaks no build
    assert skipped is not None
    assert "SHOULD failed" in (skipped.get("message") or "")
    rows = {row["id"]: row for row in json.loads(as_json.read_text())["results"]}
    assert rows["rest_metadata.model_platform"]["outcome"] == "failed"
    assert rows["rest_metadata.model_name"]["section"] == "Model Metadata Response JSON Object"
    assert "| MUST | FAILED: " in markdown.read_text()


def test_the_list_has_every_statement_with_its_level_and_section() -> None:
    lines = command("--list").output.splitlines()
    assert f"{len(STATEMENTS)} statements" in lines
    assert any(line.startswith("rest_health.live  MUST  OIP REST, ") for line in lines)


def test_pytest_runs_a_test_per_statement(
    addresses: tuple[str, ...], served: tuple[ProtocolServer, str, str], tmp_path: Path
) -> None:
    served[0].fault = status(LIVE, 503)
    words = ["-p", "oip_conformance.pytest_plugin", "--pyargs", "oip_conformance.test_protocol", "-k", "rest_health"]
    options = [f"--oip-{word[2:]}" if word.startswith("--") else word for word in addresses]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, *options],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 9 passed" in done.stdout, done.stdout
    assert "1 xfailed" in done.stdout  # the SHOULD about the body


def test_a_model_that_takes_no_made_up_input_fails_with_what_to_do(
    served: tuple[ProtocolServer, str, str], tmp_path: Path
) -> None:
    served[0].fault = request(lambda content: content["inputs"][0]["data"][0] == 41)
    file = tmp_path / "request.json"
    real = {"name": "numbers", "datatype": "FP32", "shape": [1, 4], "data": [41, 1, 2, 3]}
    file.write_text(json.dumps({"inputs": [real]}))
    made, given = (subjects_of(served[1], None, ["total"], inputs=inputs) for inputs in (None, file))
    results = [
        run(subjects, [STATEMENTS[f"rest_response.{name}"]])[0]
        for subjects in (made, given)
        for name in ("answers", "returns_the_id")
    ]
    for subject in (*made, *given):
        subject.close()
    outcomes = [result.outcome for result in results]
    assert outcomes == [Outcome.FAILED, Outcome.SKIPPED, Outcome.PASSED, Outcome.PASSED], results
    assert results[0].reason.endswith("give --input FILE")


def test_a_server_with_tls_and_keys_is_checked(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text("alpha\n")
    artifact = table_artifact(tmp_path / "table")
    with live_server(artifact, tls_certificate=certificate, tls_key=key, api_keys=keys) as live:
        addresses = ("--rest", live.url.replace("http:", "https:"), "--grpc", f"grpcs://{live.grpc}")
        words = ("--ca", str(certificate), "--header", "authorization: Bearer alpha")
        done = command(*addresses, *words, "--only", "grpc_inference")
        assert "0 failed" in done.output, done.output
        refused = command(*addresses, *words[:2], "--model", "small-table", "--only", "grpc_inference.answers")
        assert refused.exit_code == 1


@pytest.mark.parametrize("datatype", DTYPES)
def test_a_tensor_of_every_datatype_is_the_same_in_every_form(datatype: str) -> None:
    tensor = filled(TensorMetadata("x", datatype, (-1, 3)), [4, 3])
    forms = [from_json(tensor.as_json()), from_json({**tensor.as_json(), "data": tensor.nested()})]
    forms.append(from_raw("x", datatype, tensor.shape, tensor.raw()))
    if datatype in CONTENTS:
        forms.append(from_contents("x", datatype, tensor.shape, tensor.contents()))
    assert all(np.array_equal(form.values, tensor.values) for form in forms)
    if datatype not in (BYTES, "BOOL"):
        assert len(np.unique(tensor.values)) > 3


def test_the_suite_imports_nothing_of_lading() -> None:
    named: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                named.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                named.add(node.module.partition(".")[0])
    light = {"google", "grpc", "httpx", "numpy", "oip_conformance", "pytest", "rich", "typer"}
    assert named <= light | set(sys.stdlib_module_names)


def test_the_page_has_a_row_for_each_server_and_each_failure(served: tuple[ProtocolServer, str, str]) -> None:
    server, rest, grpc = served
    subjects = subjects_of(rest, grpc, ["total"])
    chosen = [statement for name, statement in STATEMENTS.items() if name.startswith("rest_metadata")]
    results = {}
    for name, fault in {"right": RIGHT, "wrong": drop(MODEL, "platform")}.items():
        server.fault = fault
        results[name] = run(subjects, chosen)
    for subject in subjects:
        subject.close()
    text = page(results, "today")
    skipped = sum(result.outcome is Outcome.SKIPPED for result in results["right"])
    assert f"| right | {len(chosen) - skipped} | 0 | 0 | {skipped} |" in text
    assert f"| wrong | {len(chosen) - skipped - 2} | 1 | 1 | {skipped} |" in text
    assert "| OIP REST | Platforms | 1 of 1 | 0 of 1 |" in text
    assert "### right\n\nNone.\n" in text


def test_the_documentation_has_the_results_of_these_statements() -> None:
    text = (SOURCE.parents[1] / "docs" / "conformance.md").read_text()
    assert f"checks {len(STATEMENTS)} statements" in text, "run make conformance"
    (failed,) = re.findall(r"^\| Lading [\d.]+ \| \d+ \| (\d+) \| \d+ \| \d+ \|$", text, re.MULTILINE)
    assert failed == "0"


@pytest.mark.slow
def test_the_wheel_runs_in_an_environment_of_its_own(addresses: tuple[str, ...], tmp_path: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))

    def run_outside(*words: str) -> str:
        environment = {**os.environ, "PYTHONPATH": ""}
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run_outside(uv, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", ".", str(SOURCE.parent))
    run_outside(uv, "venv", "--quiet", "--python", sys.executable, "venv")
    (wheel,) = tmp_path.glob("oip_conformance-*.whl")
    run_outside(uv, "pip", "install", "--quiet", "--python", "venv/bin/python", str(wheel))
    assert "lading" not in run_outside(uv, "pip", "list", "--python", "venv/bin/python")
    assert "0 failed" in run_outside("venv/bin/oip-conformance", *addresses)
    options = [f"--oip-{word[2:]}" if word.startswith("--") else word for word in addresses]
    tests = run_outside("venv/bin/pytest", "-q", "--pyargs", "oip_conformance.test_protocol", *options)
    assert "failed" not in tests.splitlines()[-1]
