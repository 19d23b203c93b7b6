"""Commands of the documentation, and how each of them is run by a test.

A command without a row in ``ROWS`` fails tests/documented/test_every_command_is_run.py. To document a new one, add a
row: its pattern, and the way to run it. ``more`` are words that are appended, so that it takes seconds.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^Example: `(lading [^`]+)`$", re.MULTILINE)
"""Examples of docs/commands.md, which come from the help texts."""
COMMENTED = re.compile(r"^\s*#   ((?:kubectl|helm|lading|dvc|wandb|make|docker/build|python -m) .*)$", re.MULTILINE)
"""Commands in comments of manifests and configuration."""


class Way(StrEnum):
    """How a test runs a command, with the tests that do."""

    SERVER = "tests/documented/test_on_a_server.py"
    FOLDER = "tests/documented/test_in_a_folder.py"
    """Run in a folder that holds what the pages tell a reader to have."""
    TRAINING = "tests/documented/test_training.py"
    """Its configuration is composed as written; with ``more`` it also trains, for a few steps."""
    CHART = "tests/documented/test_on_a_chart.py"
    """Rendered without a cluster; on a cluster as CLUSTER."""
    CLUSTER = "tests/e2e/cluster/test_documented.py"
    """Run on the cluster of KUBECONFIG. What would change it is a dry run of the API server."""
    PROMETHEUS = "tests/documented/test_on_prometheus.py"
    CLOUD = "tests/documented/test_of_a_cloud.py"
    """Needs an account: the tool itself parses it, and each file and variable that it names exists."""
    IMAGE = "tests/documented/test_images.py"
    """Run up to the builder of images, which a stand-in replaces; `.ci/cluster` builds them."""
    MAKE = "tests/documented/test_make.py"
    """`make -n`; ``by`` names what runs the target."""
    MEASUREMENT = "tests/documented/test_measurements.py"
    """Takes minutes to hours: the program knows its options; ``by`` is the test that runs it with less."""
    PAGE = ""
    """``by`` runs the commands of the page in their order."""


@dataclass(frozen=True)
class Row:
    """Commands that match a pattern from their start, and how they are run."""

    way: Way
    pattern: str
    more: str = ""
    """Words that are appended, so that it takes seconds. The last of two equal options wins."""
    by: str = ""
    """The test that runs it, where that is not the way's own; for MAKE also a script of CI."""
    on: str = ""
    """With SERVER: which server answers. With PROMETHEUS and CLUSTER: unused."""
    slow: bool = False
    codes: tuple[int, ...] = (0,)
    """Exit codes that are right: 3 where a gate may refuse these few examples."""
    says: str = ""
    """Part of its output."""
    endless: str = ""
    """It serves until it is stopped; this line says that it runs."""


@dataclass(frozen=True)
class Documented:
    """A command of a page."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    @property
    def row(self) -> Row | None:
        return next((row for row in ROWS if re.match(row.pattern, self.text)), None)

    def __str__(self) -> str:
        return f"{Path(self.page).name}: {' '.join(self.text.split())[:90]}"


def commands(page: Path) -> list[str]:
    """Every command of a page's shell blocks; one that goes on over several lines is one command."""
    found: list[str] = []
    for block in FENCE.findall(page.read_text()):
        waiting = ""
        for line in block.splitlines():
            waiting = f"{waiting}\n{line}" if waiting else line
            try:
                words = shlex.split(waiting, comments=True)
            except ValueError:
                continue
            found.extend([waiting] if words else [])
            waiting = ""
        assert not waiting, f"{page.name}: an unfinished command: {waiting}"
    return found


@cache
def pages() -> list[Path]:
    """Every Markdown file of the repository."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


@cache
def documented() -> list[Documented]:
    """Every command: of the pages, of the help texts, and of comments in manifests and configuration."""
    found = {(str(page.relative_to(ROOT)), text): None for page in pages() for text in commands(page)}
    commands_page = "docs/commands.md"
    found |= {(commands_page, text): None for text in EXAMPLE.findall((ROOT / commands_page).read_text())}
    for folder in ("k8s", "configs", "docker"):
        for file in sorted((ROOT / folder).rglob("*.y*ml")):
            found |= {(str(file.relative_to(ROOT)), text): None for text in COMMENTED.findall(file.read_text())}
    return [Documented(page, text) for page, text in found]


def run_by(way: Way) -> list[Documented]:
    """The different commands of a way; one that several pages show is run once."""
    first: dict[str, Documented] = {}
    for one in documented():
        if one.row is not None and one.row.way == way and not (way == Way.PAGE and one.row.by):
            first.setdefault(one.text.partition("  #")[0].strip(), one)
    return list(first.values())


S = "tests/benchmarks/test_studies.py::test_a_study_runs_and_shows_what_it_found"
ROWS = [
    # Pages whose commands a test runs in their order.
    Row(Way.PAGE, r"lading (init|build|serve) .*my.model", by="tests/e2e/test_wheel.py"),
    Row(Way.PAGE, r"lading \w+ .*digits|lading build examples/digits", by="tests/models/test_bring_your_own.py"),
    Row(Way.PAGE, r"curl http://127.0.0.1:8080/predict --header", by="tests/models/test_bring_your_own.py"),
    Row(Way.PAGE, r"lading (import|export|pack|inspect) .*(photos|exported/)", by="tests/models/test_your_model.py"),
    Row(Way.PAGE, r"lading .*(reviews.py|text_encoder.py)", by="tests/models/test_text.py"),
    Row(Way.PAGE, r"lading import ", by="tests/build/weights/test_imported.py"),
    Row(Way.PAGE, r"lading build examples/code_or_prose.py", by="tests/models/test_code_or_prose.py"),
    Row(Way.PAGE, r"lading build examples/table.py", by="tests/models/test_table.py"),
    Row(
        Way.PAGE,
        r"lading (build|pack) .*(detection|segmentation|fasterrcnn)|curl -F photo=@",
        by="tests/models/test_detection_and_segmentation.py",
    ),
    Row(Way.PAGE, r"lading build examples/embeddings.py", by="tests/models/test_embeddings.py"),
    Row(Way.PAGE, r"lading build examples/two_pictures.py", by="tests/models/test_two_pictures.py"),
    Row(Way.PAGE, r"k8s/gke/publish ", by="tests/k8s/test_gke.py"),
    Row(Way.PAGE, r"lading (up|down) ", by="tests/e2e/cluster/test_up.py"),
    Row(Way.PAGE, r"lading image ", by="tests/deploy/test_up.py"),
    Row(Way.PAGE, r"lading compare .*http", by="tests/deploy/test_compare.py"),
    Row(Way.PAGE, r"lading drift serve", by="tests/record/test_drift_service.py"),
    Row(Way.PAGE, r"lading (promote|candidate) ", by="tests/deploy/test_promotion.py"),
    Row(Way.PAGE, r"docker run ", by="tests/monitoring/test_grafana.py"),
    Row(Way.PAGE, r"amtool ", by="tests/monitoring/test_alerts_reach_someone.py"),
    Row(Way.PAGE, r"channel=|for file in k8s/gke/monitoring", by="tests/k8s/test_gke.py"),
    Row(Way.PAGE, r"dvc remote add|git add dvc.lock", by="tests/repository/test_dvc.py"),
    Row(Way.PAGE, r"grpcurl ", by="tests/serve/test_clients.py"),
    Row(Way.PAGE, r"env RELEASE=cards .*k8s/gke/deploy", by="tests/k8s/test_gke.py"),
    Row(
        Way.PAGE,
        r"lading (keys|sign|verify-signature) |export LADING_TRUSTED_KEYS|python -m model_signing",
        by="tests/signing/test_documented_commands.py",
    ),
    # Requests.
    Row(Way.PAGE, r"curl .*gcloud auth", by="tests/deploy/test_cloud_run.py"),
    Row(Way.SERVER, r"curl .*https://api.models.example.com", on="keys"),
    Row(Way.SERVER, r"lading check .*https:", on="keys"),
    Row(Way.SERVER, r"curl .*(/predict/smiles|node_features)", on="molecules"),
    Row(Way.SERVER, r"curl |echo \"\{.*\| curl", on="cards"),
    Row(Way.SERVER, r"lading check .*http", on="cards"),
    Row(Way.SERVER, r"lading load --url", "--seconds 2 --rate 5 --warm-up 0", on="cards", slow=True),
    Row(
        Way.SERVER,
        r"lading load artifacts/cards",
        "--url http://127.0.0.1:8080 --grpc 127.0.0.1:9000 --rate 5 --seconds 3 --warm-up 1 --slo errors=99%",
        on="cards",
        slow=True,
    ),
    Row(Way.SERVER, r"locust ", "--headless --users 2 --run-time 2s", on="cards", slow=True, codes=(0, 1, 3)),
    Row(Way.SERVER, r"oip-conformance ", on="cards", slow=True),
    Row(Way.SERVER, r"pytest --pyargs oip_conformance", on="cards", slow=True),
    Row(Way.SERVER, r"openssl s_client", on="tls"),
    Row(Way.PROMETHEUS, r"promtool query"),
    # Commands on a folder.
    Row(Way.FOLDER, r"lading (inspect|values|report|monitor|vertex) "),
    Row(Way.FOLDER, r"lading (pack|build) model.onnx|lading pack (?!models/)"),
    Row(Way.FOLDER, r"lading compare ", codes=(0, 3)),
    Row(Way.FOLDER, r"lading doctor ", codes=(0, 1)),
    Row(Way.PAGE, r"lading drift check (gs|s3)://", by="tests/record/test_payload_store.py"),
    Row(Way.FOLDER, r"lading drift check", codes=(0, 3)),
    Row(Way.FOLDER, r"lading serve ", endless="ready"),
    Row(Way.FOLDER, r"lading score .*--ray", slow=True),
    Row(Way.FOLDER, r"lading score "),
    Row(Way.FOLDER, r"sed -i |echo \"\$\(openssl|printf %s|export NAMESPACE="),
    Row(Way.FOLDER, r"python -m models.card_decks contact-sheet.jpg", "--rows 1 --columns 4", slow=True),
    Row(Way.FOLDER, r"python -m models.card_decks.misses", "--decks 1", slow=True),
    Row(Way.FOLDER, r"python -m pytest", "--collect-only -q", slow=True),
    # Training and what follows it.
    Row(Way.TRAINING, r"lading (train|prune|sweep|prepare) |torchrun "),
    Row(Way.TRAINING, r"lading (export|quantize|verify|pack|build) models/"),
    Row(Way.TRAINING, r"dvc (repro|exp run|push)|wandb sweep|lading retrain|lading fetch"),
    # Measurements.
    Row(Way.MEASUREMENT, r"python -m models.card_decks.real_decks", by="tests/models/test_cards.py"),
    Row(Way.MEASUREMENT, r"python -m models.molecule_graphs ", by="tests/models/test_molecules.py"),
    Row(Way.MEASUREMENT, r"python -m lading.build.train.average", by="tests/build/train/test_average.py"),
    Row(Way.MEASUREMENT, r"python -m benchmarks.studies", by=S),
    Row(Way.MEASUREMENT, r"python -m benchmarks.server", by="tests/benchmarks/test_server.py"),
    # Clusters.
    Row(Way.CHART, r"helm upgrade .*loadTest.report", "--set loadTest.enabled=true,loadTest.image=lading-load:1"),
    Row(Way.CHART, r"helm upgrade "),
    Row(Way.CLUSTER, r"helm (test|rollback|uninstall) "),
    Row(Way.CLUSTER, r"kubectl .*port-forward", endless="Forwarding from"),
    Row(Way.CLUSTER, r"kubectl |export POD="),
    Row(Way.CLUSTER, r"lading (canary|why) "),
    # Clouds, images and packages.
    Row(Way.CLOUD, r"gcloud |terraform "),
    Row(Way.IMAGE, r"docker/build |docker push|kind |make (\w+-)?image"),
    Row(Way.CLOUD, r"pip install|apt-get install"),
    # Targets of make, and what runs them.
    Row(Way.MAKE, r"make serve$", by="tests/e2e/test_make_serve.py"),
    Row(Way.MAKE, r"make serve-molecules", by="tests/documented/test_make.py"),
    Row(Way.MAKE, r"make help", by="tests/documented/test_make.py"),
    Row(
        Way.MAKE, r"make (artifacts/cards/lading.json|artifacts/cards/lading.json build/bento.cdx.json)$", by=".ci/run"
    ),
    Row(Way.MAKE, r"make lint", by=".ci/run"),
    Row(Way.MAKE, r"make watch", by="tests/monitoring/test_end_to_end.py"),
    Row(Way.MAKE, r"make clients", by="tests/serve/test_clients.py"),
    Row(Way.MAKE, r"make conformance", by="tests/conformance/test_suite.py"),
    Row(Way.MAKE, r"make soak", by="tests/benchmarks/test_soak.py"),
    Row(Way.MAKE, r"make bench-loader", by=S),
]
