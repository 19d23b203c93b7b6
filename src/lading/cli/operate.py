"""Commands for a running service."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from lading.cli.access import Ca, Key
from lading.cli.terminal import console
from lading.deploy.load.shapes import KINDS, Kind, Shape


def load(
    artifact: Annotated[
        Path | None,
        typer.Argument(
            help="artifact whose golden requests are sent; default: random requests by the server's signature"
        ),
    ] = None,
    url: Annotated[str, typer.Option(envvar="LADING_URL", help="address of the HTTP port")] = "http://127.0.0.1:8080",
    grpc: Annotated[
        str, typer.Option(envvar="LADING_GRPC", help="address of the gRPC port, or off")
    ] = "127.0.0.1:9000",
    users: Annotated[str, typer.Option(help=f"kinds of users: {', '.join(KINDS)}")] = ",".join(KINDS),
    shape: Annotated[Shape, typer.Option(help="how the rate changes during the test")] = "constant",
    rate: Annotated[float, typer.Option(min=1, max=10_000, help="maximum rate, in requests per second")] = 10.0,
    seconds: Annotated[float, typer.Option(min=1, help="length of the test")] = 60.0,
    warm_up: Annotated[float, typer.Option(min=0, help="seconds at the start that do not count")] = 2.0,
    slo: Annotated[
        str, typer.Option(help="the SLO, for example p99=50ms,errors=0.1%,rps=45; exit code 3 when it is missed")
    ] = "errors=0%",
    pictures: Annotated[Path | None, typer.Option(help="file or folder of pictures to send")] = None,
    model: Annotated[str | None, typer.Option(help="model of the server; default: its first")] = None,
    out: Annotated[Path, typer.Option(help="folder for CSV files and the HTML report")] = Path("runs/load"),
    upload: Annotated[str | None, typer.Option(help="bucket that gets a copy of them: gs://, s3:// or az://")] = None,
    timeout: Annotated[float, typer.Option(min=0.01, help="request timeout, in seconds")] = 10.0,
    processes: Annotated[int, typer.Option(min=1, max=64, help="number of sending processes")] = 1,
    key: Key = None,
    ca: Ca = None,
) -> None:
    """Send load made from the model's signature over REST and gRPC, and check an SLO.

    Example: `lading load artifacts/cards --rate 50 --seconds 30 --slo p99=50ms,errors=0.1%,rps=45`

    Example: `lading load --url http://127.0.0.1:8080 --users plain,v2-binary --shape spike --rate 100`
    """
    from lading.deploy.load.run import Load, run
    from lading.protocol.client import Access

    kinds: list[Kind] = [kind for kind in KINDS if kind in users.split(",")]
    if unknown := set(users.split(",")) - set(KINDS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: known are {', '.join(KINDS)}", param_hint="--users")
    code = run(
        Load(
            url=url,
            grpc=None if grpc == "off" else grpc,
            artifact=artifact,
            model=model,
            kinds=tuple(kinds),
            shape=shape,
            rate=rate,
            seconds=seconds,
            warm_up=warm_up,
            slo=slo,
            pictures=pictures,
            out=out,
            upload=upload,
            timeout=timeout,
            processes=processes,
            access=Access(key, ca),
        )
    )
    raise typer.Exit(code)


def canary(
    stable: Annotated[str, typer.Argument(metavar="STABLE", help="Service of the current release")],
    new: Annotated[str, typer.Argument(metavar="CANARY", help="Service of the new release")],
    route: Annotated[
        list[str] | None,
        typer.Option(help="httproutes/NAME or grpcroutes/NAME; repeatable; default: httproutes/cards"),
    ] = None,
    prometheus: Annotated[
        str, typer.Option(help="address of Prometheus")
    ] = "http://prometheus-operated.monitoring.svc:9090",
    steps: Annotated[str, typer.Option(help="percent of the requests at each step; then all")] = "5,25,50",
    minutes: Annotated[float, typer.Option(min=0.01, help="length of a step; the comparison covers that time")] = 5.0,
    patience: Annotated[int, typer.Option(min=1, help="comparisons with too few requests before a rollback")] = 3,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="mirror requests to the new release instead of moving them")
    ] = False,
    min_requests: Annotated[int, typer.Option(min=1, help="minimum number of requests per step")] = 200,
    errors: Annotated[
        float, typer.Option(min=0, max=100, help="maximum increase of errors, in percentage points")
    ] = 0.1,
    p99_ratio: Annotated[float, typer.Option(min=1, help="maximum p99, as a multiple of the current release's")] = 1.25,
    min_agreement: Annotated[float, typer.Option(min=0, max=1, help="minimum share of equal answers; 0: skip")] = 0.9,
    artifact: Annotated[Path | None, typer.Option(help="artifact whose golden requests are sent to both")] = None,
    namespace: Annotated[
        str | None, typer.Option(help="namespace of routes and Services; default: as kubectl does")
    ] = None,
    stable_url: Annotated[
        str | None, typer.Option(help="address of STABLE; default: its Service in the cluster")
    ] = None,
    new_url: Annotated[str | None, typer.Option("--canary-url", help="address of CANARY")] = None,
    stable_selector: Annotated[
        str | None, typer.Option(help="label selector of STABLE's series; default: by pod names")
    ] = None,
    new_selector: Annotated[
        str | None, typer.Option("--canary-selector", help="label selector of CANARY's series; default: by pod names")
    ] = None,
    api: Annotated[
        str | None,
        typer.Option(help="Kubernetes API without login, such as `kubectl proxy`; default: kubeconfig, else the pod's"),
    ] = None,
    either: Annotated[
        bool, typer.Option("--either", help="the new release is the one of both that has no requests")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the patches without sending them")] = False,
    key: Key = None,
    ca: Ca = None,
) -> None:
    """Move requests to a new release step by step, and promote it or roll back.

    Before the first step both releases need ready endpoints and series in Prometheus, and before each step the new one
    needs the pods for its share. It is scaled if it has an autoscaler. Otherwise nothing moves, and the exit code is 1.
    Each step compares the share of errors, the p99, and the answers to the same inputs. Exit code 3 after a rollback.

    Example: `lading canary cards-a cards-b --route httproutes/cards --steps 5,25,50 --minutes 5`

    Example: `lading canary cards-a cards-b --route httproutes/cards --namespace serve --dry-run`
    """
    import signal
    import sys

    from rich.console import Console

    from lading.deploy.canary.decision import Limits, ReleaseWindow
    from lading.deploy.canary.evidence import Prometheus, agreement, pods_of
    from lading.deploy.canary.gateway import Routes
    from lading.deploy.canary.preconditions import Preconditions
    from lading.deploy.canary.release import Release
    from lading.deploy.canary.rollout import Canary, read_steps
    from lading.deploy.kubernetes import Cluster
    from lading.deploy.promotion import idle_of
    from lading.protocol.client import Access

    percents = read_steps(steps)
    # On SIGTERM, give the requests back first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cluster = Cluster.connect(api)
    where = namespace or cluster.namespace
    console = Console(highlight=False, soft_wrap=True)

    def say(line: str) -> None:
        console.print(line, markup=False)

    routes = Routes(cluster, where, tuple(route or ["httproutes/cards"]), dry_run, say)
    if either:
        new, stable = idle_of(routes.read(), (stable, new))
    scheme = "https" if ca else "http"
    urls = (
        stable_url or f"{scheme}://{stable}.{where}.svc:8080",
        new_url or f"{scheme}://{new}.{where}.svc:8080",
    )
    selectors = (stable_selector or pods_of(where, stable), new_selector or pods_of(where, new))
    counted = Prometheus(prometheus.rstrip("/"))
    access = Access(key, ca)
    access.headers()  # a file of keys that cannot be used is refused before any request moves
    seconds = max(1, round(minutes * 60))

    def agree() -> float:
        return agreement(*urls, artifact, access=access)

    def look() -> tuple[ReleaseWindow, ReleaseWindow, float | None]:
        before, after = (counted.window(selector, seconds) for selector in selectors)
        return before, after, agree() if min_agreement > 0 else None

    limits = Limits(min_requests, errors / 100, p99_ratio, agreement=min_agreement)
    preconditions = Preconditions(
        Release(cluster, where, stable),
        Release(cluster, where, new),
        counted,
        selectors,
        seconds,
        urls[1],
        access,
        agree if min_agreement > 0 else None,
        min_agreement,
        dry_run,
        say,
    )
    rollout = Canary(
        stable, new, routes, look, limits, percents, minutes * 60, patience, say, preconditions=preconditions
    )
    say(f"cluster {cluster.url}, namespace {where}")
    rollout.shadow() if shadow else rollout.run()


def why(
    release: Annotated[str, typer.Argument(help="name of the Helm release")],
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="its namespace; default: as kubectl does")
    ] = None,
    output: Annotated[Literal["text", "json"], typer.Option("--output", "-o", help="form of the answer")] = "text",
    api: Annotated[
        str | None,
        typer.Option(help="Kubernetes API without login, such as `kubectl proxy`; default: kubeconfig, else the pod's"),
    ] = None,
) -> None:
    """Say why a release does not serve: what Helm, pods, events and logs say, as a cause and what to do.

    Exit code 0 when all is well, 1 with a cause.

    Example: `lading why cards --namespace serve`
    """
    import json

    from lading.deploy.kubernetes import Cluster
    from lading.deploy.why.diagnosis import why as ask

    cluster = Cluster.connect(api)
    found = ask(cluster, namespace or cluster.namespace, release)
    if output == "json":
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        typer.echo("\n".join(found.lines()))
    if not found.well:
        raise typer.Exit(1)


def monitor(
    source: Annotated[
        list[Path],
        typer.Argument(metavar="ARTIFACT|SLO...", help="SLO files, or artifacts to derive SLOs from"),
    ],
    out: Annotated[Path, typer.Option(help="folder to write")] = Path("monitoring"),
) -> None:
    """Write rules, alerts and dashboards for models: for Prometheus, Grafana, the chart and GKE.

    An artifact's SLO is derived from verify's measurements and written too. Edit that file: it is kept, and used again.
    `chart/values.yaml` holds the SLOs for `helm upgrade --values`.

    Example: `lading monitor artifacts/cards --out watching`

    Example: `lading monitor watching/slos/cards.yaml --out watching`
    """

    from lading.artifact import Artifact
    from lading.files import write_atomically
    from lading.monitoring.slo import read_slo, slo_for, slo_yaml
    from lading.monitoring.write import chart_files, gke_files, values_yaml, write_files

    slos, derived = [], dict[Path, str]()
    for path in source:
        if path.is_dir():
            artifact = Artifact.load(path)
            slo = slo_for(artifact)
            file = out / "slos" / f"{slo.id}.yaml"
            if file.exists():
                console().print(f"{file} is kept; remove it to derive it again")
                slo = read_slo(file)
            else:
                derived[file] = slo_yaml(slo, f"From what verify measured of {artifact.digest[:19]}.")
        else:
            slo = read_slo(path)
        slos.append(slo)
    gke = {f"gke/{name}": text for name, text in gke_files(slos).items()}
    write_files(out, chart_files(slos) | {"chart/values.yaml": values_yaml(slos)} | gke)
    for file, text in derived.items():
        write_atomically(file, text)
    for slo in slos:
        console().print(
            f"{slo.model}: {slo.availability.objective:.2%} answered, {slo.latency.objective:.0%} within "
            f"{slo.latency.threshold_ms:g} ms, over {slo.window_days} days"
        )
    console().print(f"wrote {out}")


def retrain(
    token_file: Annotated[Path, typer.Option(help="file with the token that Alertmanager must send")],
    namespace: Annotated[str, typer.Option(help="namespace of the CronJobs")] = "lading-training",
    hours: Annotated[float, typer.Option(min=0.01, help="minimum hours between two starts for one model")] = 24.0,
    alert: Annotated[list[str] | None, typer.Option(help="alert that starts a training; default: LadingDrift")] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0: a free one")] = 8070,
) -> None:
    """Receive Alertmanager's notifications, and start training Jobs from suspended CronJobs.

    Example: `lading retrain --token-file /run/token/token`
    """
    from lading.deploy.kubernetes import Cluster
    from lading.errors import SettingsError

    try:
        import uvicorn

        from lading.deploy.retraining import Retraining, retraining_app
    except ModuleNotFoundError as missing:
        raise SettingsError(f"receiving alerts needs {missing.name}: pip install 'lading[kubernetes]'") from None
    token = token_file.read_text().strip() if token_file.is_file() else ""
    if not token:
        raise SettingsError(f"{token_file} holds no token; without one anyone could start a Job")
    retraining = Retraining(Cluster.connect(), namespace, hours * 3600, alert or ["LadingDrift"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    uvicorn.run(retraining_app(retraining, token), host=host, port=port, log_config=None, access_log=False)


drift = typer.Typer(name="drift", help="Compare a service's requests with its training data.", no_args_is_help=True)

Log = Annotated[str, typer.Argument(help="folder or bucket of a payload log (LADING_PAYLOAD_LOG)")]
Packed = Annotated[Path, typer.Argument(help="artifact folder that was served, for example artifacts/cards")]


@drift.command()
def check(
    log: Log,
    artifact: Packed,
    newest: Annotated[int, typer.Option("--newest", "-n", min=50, help="number of newest examples")] = 500,
    report: Annotated[Path | None, typer.Option(help="also write an HTML page")] = None,
) -> None:
    """Compare a payload log with the training data. Exit code 3 when a feature has drifted.

    Example: `lading drift check payloads artifacts/cards --report drift.html`

    Example: `lading drift check gs://bucket/payloads artifacts/cards`
    """
    from lading.artifact import Artifact
    from lading.errors import GateRefusedError
    from lading.record.log_watch import check_log

    found = check_log(log, Artifact.load(artifact), newest=newest)
    console().print(found.table())
    for output, (right, known) in found.accuracy.items():
        console().print(f"{output}: {right} of {known} answers with a known truth were right ({right / known:.3f})")
    for output, error in found.errors.items():
        console().print(f"{output}: mean absolute error of the answers with a known truth: {error:.4g}")
    if report is not None:
        report.write_text(found.report(newest), encoding="utf-8")
        console().print(f"report: {report}")
    if found.drifted:
        names = ", ".join(sorted({score.feature for score in found.scores if score.drifted}))
        raise GateRefusedError(f"{found.model} has drifted: {names}")
    console().print("nothing has drifted")


@drift.command()
def serve(
    log: Log,
    artifact: Packed,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0: a free one")] = 8090,
    window: Annotated[
        int, typer.Option(min=50, max=100_000, help="examples that a drift score is computed over")
    ] = 500,
    every: Annotated[float, typer.Option(min=0.5, help="seconds between two looks at the log")] = 60.0,
) -> None:
    """Follow the payload log of all pods of a service: metrics of drift and accuracy, and a report.

    GET /report?n=500 is Evidently's report on the newest examples where the extra `drift` is installed, and a plain one
    otherwise. /readyz says so when the log cannot be read.

    Example: `lading drift serve payloads artifacts/cards --port 8090`

    Example: `lading drift serve s3://bucket/payloads artifacts/cards --host 0.0.0.0`
    """
    import uvicorn

    from lading.artifact import Artifact
    from lading.log import configure_logging
    from lading.record.drift_service import DriftService, drift_app
    from lading.record.log_source import log_source

    configure_logging("info", "console")
    service = DriftService(log_source(log), Artifact.load(artifact), window)
    uvicorn.run(drift_app(service, every), host=host, port=port, log_config=None, access_log=False)
