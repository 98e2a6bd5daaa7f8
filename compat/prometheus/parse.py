"""Reads the pages of an exporter with Prometheus' own parsers, in both formats: `parse.py BASE-URL QUEUE`.

Prints `read FAMILIES SAMPLES` for each page and format, and fails where a parser or a rule of the formats does. QUEUE is the name
of a queue, as JSON, that has to be found as it is.
"""

import json
import sys
import urllib.request

from prometheus_client import openmetrics, parser
import prometheus_client.openmetrics.parser

FORMATS = {
    "text/plain; version=0.0.4": parser.text_string_to_metric_families,
    "application/openmetrics-text; version=1.0.0": openmetrics.parser.text_string_to_metric_families,
}
PAGES = [
    "/metrics",
    "/metrics/per-object",
    "/metrics/detailed?family=queue_coarse_metrics&family=channel_metrics&family=everack_queue_balance",
]


def read(base, page, accept):
    request = urllib.request.Request(base + page, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        kind = answer.headers["Content-Type"]
        assert kind.startswith(accept.split(";")[0]), f"{page}: {kind} for {accept}"
        return answer.read().decode("utf-8")


def main():
    base, queue = sys.argv[1], json.loads(sys.argv[2])
    for page in PAGES:
        for accept, parse in FORMATS.items():
            families = list(parse(read(base, page, accept)))
            samples = [sample for family in families for sample in family.samples]
            seen = {(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples}
            assert len(seen) == len(samples), f"{page}: a series comes twice"
            names = [family.name for family in families]
            assert len(set(names)) == len(names), f"{page}: a family comes twice"
            queues = {sample.labels["queue"] for sample in samples if "queue" in sample.labels}
            assert page == "/metrics" or queue in queues, f"{page}: no {queue!r} among {queues!r}"
            print("read", len(families), len(samples))


main()
