"""A statement of Kubernetes, Helm or the server stands for a cause."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.deploy.why.cause import Cause
from lading.deploy.why.causes import CAUSES
from lading.deploy.why.statements import plain, telling

SEEN = [
    ("image-absent", "ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image: not found"),
    ("image-absent", "ImagePullBackOff: Back-off pulling image cards:2: ErrImagePull: manifest unknown"),
    ("image-absent", 'Failed: Failed to pull image "cards@sha256:00": failed to resolve reference: not found'),
    ("registry-login", "ErrImagePull: failed to authorize: failed to fetch anonymous token: unexpected status: 401"),
    ("registry-login", "ErrImagePull: unexpected status from HEAD request to https://r.test/v2/x: 403 Forbidden"),
    ("registry-unreachable", "ErrImagePull: dial tcp 10.0.0.1:443: connect: connection refused"),
    ("registry-unreachable", "ErrImagePull: tls: failed to verify certificate: x509: signed by unknown authority"),
    ("image-platform", "Error: exit code 255: exec /usr/bin/python: exec format error"),
    ("missing-object", 'CreateContainerConfigError: configmap "cards-more" not found'),
    ("missing-object", 'Unschedulable: 0/1 nodes are available: persistentvolumeclaim "models" not found.'),
    ("missing-object", 'FailedMount: MountVolume.SetUp failed for volume "tls" : secret "cards-tls" not found'),
    ("missing-key", "CreateContainerConfigError: couldn't find key token in Secret serve/cards-env"),
    ("claim-not-bound", "Unschedulable: 0/1 nodes are available: 1 node(s) had volume node affinity conflict."),
    ("class-absent", 'FailedCreate: pods "x" is forbidden: pod rejected: RuntimeClass "kata" not found'),
    (
        "limit-range",
        'FailedCreate: pods "x" is forbidden: [minimum memory usage per Container is 1Gi, but request is 1]',
    ),
    (
        "quota",
        'failed: Release "cards" failed: services "cards" is forbidden: exceeded quota: q, requested: '
        "services=1, used: services=0, limited: services=0",
    ),
    ("admission-refused", 'failed: Upgrade "cards" failed: admission webhook "a.test" denied the request: no'),
    ("out-of-memory", "StartError: exit code 128: container init was OOM-killed (memory limit too low?)"),
    ("out-of-memory", "OOMKilled: exit code 137: the last line of the log"),
    ("too-little-cpu", "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."),
    ("too-little-cpu", "OutOfcpu: Pod was rejected: Node didn't have enough resource: cpu, requested: 9000"),
    ("taint", "Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint(s)."),
    ("node-not-ready", "Unschedulable: 0/1 nodes are available: 1 node(s) were unschedulable."),
    ("node-not-ready", "Unschedulable: no nodes available to schedule pods"),
    ("artifact-gone", "Error: exit code 1: Artifact: /artifacts is not an artifact: the folder is empty"),
    ("artifact-gone", "Error: exit code 1: Fetch: gs://models/cards/lading.json is not there"),
    ("artifact-gone", "Error: exit code 1: Fetch: oci://r.test/cards:1 cannot be read: connection refused"),
    ("wrong-digest", "Error: exit code 1: Artifact: s3://m/cards has the digest sha256:01, but sha256:02 is required"),
    (
        "artifact-untrusted",
        "Error: exit code 1: Untrusted: /artifacts/served is signed by key 0123456789ab, which is not trusted here. "
        "Trusted are the keys 3f2a1b0c9d8e (release.pub)",
    ),
    (
        "artifact-untrusted",
        "Error: exit code 137: cards is not ready: /artifacts/served/variants/int8.onnx is not the file that key "
        "3f2a1b0c9d8e (release.pub) signed: it was changed after signing; copy the artifact again",
    ),
    ("container-cannot-run", "CreateContainerConfigError: container has runAsNonRoot and image will run as root"),
    ("container-cannot-run", 'RunContainerError: exec: "python": executable file not found in $PATH'),
    ("rollout-stuck", 'failed: Upgrade "cards" failed: context deadline exceeded'),
    ("not-permitted", 'failed: cannot patch "cards" with kind Service: Service "cards" is invalid: spec.clusterIPs'),
    ("init-container", "InitError: exit code 3"),
    ("probe-failing", "Unhealthy: Readiness probe failed: Get http://10.2.0.4:8080/readyz: connection refused"),
    ("crash-loop", "Error: exit code 2: Traceback\n  File x\nKeyError: 'a'"),
    ("autoscaler-blind", "TriggerError: error getting metrics: no Prometheus"),
]


def cause_of(statement: str) -> tuple[Cause, str]:
    for cause in CAUSES:
        if match := cause.match(statement, {"image": "cards:1", "container": "server", "memory": "48Mi", "cpu": "9"}):
            return cause, match[0]
    raise AssertionError(f"no cause for {statement}")


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_the_example_of_a_cause_stands_for_it(cause: Cause) -> None:
    found, sentence = cause_of(cause.example)
    assert found is cause
    assert "{" not in sentence or "{" in cause.example
    assert cause.do
    assert not sentence.endswith(".")


@pytest.mark.parametrize(("name", "statement"), SEEN)
def test_other_words_for_a_cause_are_known(name: str, statement: str) -> None:
    assert cause_of(statement)[0].name == name


def test_every_word_of_a_sentence_can_be_filled_in() -> None:
    for cause in CAUSES:
        match = cause.match(cause.example, {})
        assert match is not None
        for text in (cause.sentence, cause.do):
            assert all(field is None or field.isidentifier() for _, field, _, _ in string.Formatter().parse(text))


@given(st.sampled_from(CAUSES), st.text(max_size=2000))
def test_whatever_is_said_becomes_a_sentence_that_can_be_read(cause: Cause, noise: str) -> None:
    match = cause.match(cause.example + noise, {})
    assert match is None or all(len(text) <= 1000 for text in match)


def test_the_line_that_says_why_is_found_in_a_log() -> None:
    rows = (
        '{"event": "loading", "level": "info"}\n{"event": "the server cannot start", "reason": "port 1 is in use"}\n'
        '{"event": "stopped", "level": "info"}\n'
    )
    assert plain(rows).splitlines()[1] == "the server cannot start: port 1 is in use"
    assert telling(rows) == "the server cannot start: port 1 is in use"
    assert telling("Traceback\n  File\nValueError: no\nbye\n") == "ValueError: no"
    assert telling("\x1b[31mred\x1b[0m\n\n") == "red"
    assert telling("") == ""
