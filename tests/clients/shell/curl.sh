#!/usr/bin/env bash
# usage: curl.sh HTTP GRPC FOLDER
set -euo pipefail
http=$1 folder=$3
echo "version $(curl --version | sed -n '1s/^curl \([^ ]*\).*/\1/p')"

# call NAME TEXT ARGUMENTS: the answer must contain the text.
call() {
  answer=$(curl --silent --show-error --max-time 20 --write-out '\n%{http_code}' "${@:3}")
  grep -q -- "$2" <<<"$answer" || { echo "$1: $answer" >&2; exit 1; }
  echo "call $1"
}

photo=(--header 'content-type: image/jpeg' --data-binary "@$folder/photo.jpg" "$http/classify")
json=(--header 'content-type: application/json' --data-binary "@$folder/predict.json" "$http/predict")
call ready '^200$' "$http/v2/health/ready"
call 'picture (--data-binary)' '"red"' "${photo[@]}"
call 'picture (-T)' '"red"' --request POST --header 'content-type:' --upload-file "$folder/photo.jpg" "$http/classify"
call 'form (-F)' '"red"' --form "image=@$folder/photo.jpg" "$http/classify"
call 'JSON' '"small-colour"' "${json[@]}"
call 'JSON in chunks' '"small-colour"' --header 'transfer-encoding: chunked' "${json[@]}"
call 'JSON (--http1.0)' '"small-colour"' --http1.0 "${json[@]}"
call 'JSON (--http2)' '"small-colour"' --http2 "${json[@]}"
call 'JSON (--compressed)' '"small-colour"' --compressed "${json[@]}"
call 'JSON (--expect100-timeout)' '"small-colour"' --header 'expect: 100-continue' "${json[@]}"
call 'v2' '"id":"7"' --header 'content-type: application/json' --data "@$folder/infer.json" "$http/v2/models/small-colour/infer"
call '404' '^404$' --data "@$folder/infer.json" "$http/v2/models/none/infer"
call 'mistake (-d for a picture)' 'data-binary' --data "@$folder/photo.jpg" "$http/classify"
call '413' '^413$' --data-binary "@$folder/large" "$http/classify"
call '413 (--http2)' '^413$' --http2 --data-binary "@$folder/large" "$http/classify"
