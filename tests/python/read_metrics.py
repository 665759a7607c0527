"""Reads metrics in Prometheus' text format from standard input by the parser of prometheus_client, and prints them as JSON:
a list of families with name, type, help and samples (name, labels, value)."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

families = [
    {
        "name": family.name,
        "type": family.type,
        "help": family.documentation,
        "samples": [
            {"name": sample.name, "labels": sample.labels, "value": str(sample.value)} for sample in family.samples
        ],
    }
    for family in text_string_to_metric_families(sys.stdin.read())
]
print(json.dumps(families))
