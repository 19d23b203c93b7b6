#!/usr/bin/env bash
# A few hundred requests of a load generator. usage: load.sh NAME HTTP GRPC FOLDER
set -euo pipefail
name=$1 url=$2/classify grpc=$3 folder=$4
type='content-type: image/jpeg'

# found TEXT: the report has this line.
found() { grep -Eq -- "$1" <<<"$report" || { echo "$report" >&2; exit 1; }; }
missing() { ! grep -Eq -- "$1" <<<"$report" || { echo "$report" >&2; exit 1; }; }

case $name in
  ab)
    echo "version $(ab -V | sed -n 's/.*Version \([^ ]*\).*/\1/p')"
    report=$(ab -q -l -n 200 -c 8 -p "$folder/photo.jpg" -T image/jpeg "$url" 2>&1)
    report+=$(ab -q -l -k -n 200 -c 8 -p "$folder/photo.jpg" -T image/jpeg "$url" 2>&1)
    found 'Failed requests: +0$'
    missing 'Non-2xx|Failed requests: +[1-9]'
    echo 'call 200 pictures by HTTP/1.0, and 200 with -k (every answer still closes its connection)' ;;
  wrk)
    echo "version $(wrk -v | sed -n 's|^wrk \(debian/\)\?\([^ ]*\).*|\2|p')"
    script=$(mktemp)
    echo 'wrk.method = "POST"; wrk.body = io.open(os.getenv("PHOTO"), "rb"):read("*a")
      wrk.headers["content-type"] = "image/jpeg"' >"$script"
    report=$(PHOTO=$folder/photo.jpg wrk -t 1 -c 4 -d 1s -s "$script" "$url")
    rm "$script"
    found '[1-9][0-9]* requests in'
    missing 'Non-2xx|Socket errors'
    echo 'call pictures for 1 s' ;;
  hey)
    echo "version $(dpkg-query -W -f '${Version}' hey 2>/dev/null || echo unknown)"
    report=$(hey -n 200 -c 8 -m POST -D "$folder/photo.jpg" -T image/jpeg "$url")
    found '\[200\].*200 responses'
    missing 'Error distribution'
    echo 'call 200 pictures' ;;
  vegeta)
    echo "version $(go version -m "$(command -v vegeta)" | awk '$1 == "mod" { print $3 }')"
    report=$(echo "POST $url" | vegeta attack -rate 100 -duration 2s -header "$type" -body "$folder/photo.jpg" | vegeta report)
    found 'Success +\[ratio\] +100.00%'
    echo 'call 200 pictures in 2 s' ;;
  k6)
    echo "version $(k6 version | sed -n 's/^k6[^ ]* v\([^ ]*\).*/\1/p')"
    report=$(k6 run --quiet --no-usage-report --vus 4 --iterations 200 -e "URL=$url" -e "PHOTO=$(realpath "$folder/photo.jpg")" tests/clients/node/k6.js)
    found 'checks_succeeded.*100.00%|checks.*100.00%'
    echo 'call 200 pictures, 200 forms' ;;
  ghz)
    echo "version $(go version -m "$(command -v ghz)" | awk '$1 == "mod" { print $3 }')"
    tensor='{"name": "image", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": ["'$(base64 -w 0 "$folder/photo.jpg")'"]}}'
    message='{"model_name": "small-colour", "inputs": ['$tensor']}'
    report=$(ghz --insecure --call inference.GRPCInferenceService/ModelInfer -n 200 -c 8 -d "$message" "$grpc")
    found '\[OK\] +200 responses'
    echo 'call 200 x ModelInfer (by reflection)' ;;
esac
