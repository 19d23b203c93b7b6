#!/usr/bin/env bash
# usage: locust.sh HTTP GRPC FOLDER
set -euo pipefail
echo "version $(locust --version | sed -n 's/^locust \([^ ]*\).*/\1/p')"
PHOTO=$3/photo.jpg locust -f tests/clients/python/locust_users.py --headless --users 4 --spawn-rate 4 --run-time 3s \
  --host "$1" --only-summary --exit-code-on-error 1 >&2
echo 'call HttpUser and FastHttpUser for 3 s'
