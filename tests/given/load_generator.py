"""A slow stand-in for the load generator oha: the same options, real requests, and the report that oha writes."""

from __future__ import annotations

import argparse
import collections
import json
import threading
import time
from pathlib import Path

import httpx
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-z", dest="duration", type=lambda text: float(text.removesuffix("s")))
    parser.add_argument("-c", dest="connections", type=int)
    parser.add_argument("-D", dest="body", type=Path)
    parser.add_argument("-T", dest="content_type")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-q", dest="rate", type=float)
    parser.add_argument("-m", dest="method")
    parser.add_argument("--output-format")
    for flag in ("--no-tui", "--stats-success-breakdown", "--latency-correction"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("url")
    given = parser.parse_args()
    headers = {"content-type": given.content_type} | dict(line.split(": ", 1) for line in given.headers)
    content, codes, latencies = given.body.read_bytes(), collections.Counter[int](), list[float]()
    begin = time.perf_counter()

    def ask(first: int) -> None:
        with httpx.Client(headers=headers, timeout=30) as client:
            number = first
            while True:
                due = begin + number / given.rate if given.rate else time.perf_counter()
                time.sleep(max(0.0, min(due, begin + given.duration) - time.perf_counter()))
                codes[client.request(given.method, given.url, content=content).status_code] += 1
                latencies.append(time.perf_counter() - due)
                number += given.connections
                if time.perf_counter() >= begin + given.duration:
                    return

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(given.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    percentiles = {f"p{q:g}": float(np.percentile(latencies, q)) for q in (50, 90, 99, 99.9)}
    report = {
        "summary": {"total": time.perf_counter() - begin},
        "latencyPercentiles": percentiles,
        "latencyPercentilesSuccessful": percentiles,
        "statusCodeDistribution": codes,
        "errorDistribution": {},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
