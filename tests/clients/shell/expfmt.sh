#!/usr/bin/env bash
# usage: expfmt.sh HTTP GRPC FOLDER; expfmt is built from tests/clients/expfmt
set -euo pipefail
echo "version $(sed -n 's|.*prometheus/common v||p' tests/clients/expfmt/go.mod)"
expfmt "$1/metrics" | grep -q '^text/plain; version=0.0.4'
echo "call /metrics"
