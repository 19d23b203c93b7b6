#!/usr/bin/env bash
# usage: grpcurl.sh HTTP GRPC FOLDER
set -euo pipefail
grpc=$2 folder=$3 service=inference.GRPCInferenceService
echo "version $(go version -m "$(command -v grpcurl)" | awk '$1 == "mod" { print $3 }')"

# call NAME TEXT ARGUMENTS: the answer must contain the text.
call() {
  answer=$(grpcurl -plaintext -max-time 20 "${@:3}" 2>&1 || true)
  grep -q -- "$2" <<<"$answer" || { echo "$1: $answer" >&2; exit 1; }
  echo "call $1"
}

tensor='{"name": "image", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": ["'$(base64 -w 0 "$folder/photo.jpg")'"]}}'
request='{"model_name": "small-colour", "id": "7", "inputs": ['$tensor']}'
call list "^$service$" "$grpc" list
call describe 'rpc ModelInfer' "$grpc" describe $service
call health SERVING "$grpc" grpc.health.v1.Health/Check
call ModelMetadata '"colour"' -d '{"name": "small-colour"}' "$grpc" $service/ModelMetadata
call ModelInfer '"id": "7"' -d "$request" "$grpc" $service/ModelInfer
call ModelStreamInfer '"id": "7"' -d "$request $request" "$grpc" $service/ModelStreamInfer
call mistake "no model 'none'" -d '{"model_name": "none"}' "$grpc" $service/ModelInfer
