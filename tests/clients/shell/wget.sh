#!/usr/bin/env bash
# usage: wget.sh HTTP GRPC FOLDER
set -euo pipefail
http=$1 folder=$3
echo "version $(wget --version | sed -n '1s/^GNU Wget \([^ ]*\).*/\1/p')"

# call NAME TEXT ARGUMENTS: the answer must contain the text.
call() {
  answer=$(wget --quiet --tries=1 --timeout=20 --content-on-error --output-document=- "${@:3}" || echo "code $?")
  grep -q -- "$2" <<<"$answer" || { echo "$1: $answer" >&2; exit 1; }
  echo "call $1"
}

call ready '' "$http/v2/health/ready"
call picture '"red"' --header='content-type: image/jpeg' --post-file="$folder/photo.jpg" "$http/classify"
call JSON '"small-colour"' --header='content-type: application/json' --post-file="$folder/predict.json" "$http/predict"
call v2 '"id":"7"' --header='content-type: application/json' --post-file="$folder/infer.json" "$http/v2/models/small-colour/infer"
call 404 "no model 'none'" --header='content-type: application/json' --post-file="$folder/infer.json" "$http/v2/models/none/infer"
call 413 'bytes' --post-file="$folder/large" "$http/classify"
