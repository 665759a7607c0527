"""Validates FHIR R4B JSON, one document a line on standard input, with PyPI's `fhir.resources`.

Checks that every resource is valid, in bundles each entry too, and that no reference in a bundle leads nowhere.
Prints what is wrong, a line each; exit code 1 if there is something.
"""

import json
import sys

from fhir.resources.R4B import get_fhir_model_class


def references(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "reference" and isinstance(inner, str):
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def check(number: int, resource: dict) -> list[str]:
    wrong = []
    kind = resource.get("resourceType", "?")
    try:
        get_fhir_model_class(kind).model_validate(resource)
    except Exception as error:  # noqa: BLE001: whatever it is, it is told
        wrong.append(f"line {number}: {kind}: {str(error)[:500]}")
    entries = resource.get("entry", []) if kind == "Bundle" else []
    addresses = {entry.get("fullUrl") for entry in entries}
    for entry in entries:
        inner = entry["resource"]
        wrong += check(number, inner)
        contained = {"#" + part["id"] for part in inner.get("contained", [])}
        for reference in references(inner):
            if reference not in addresses and reference not in contained:
                wrong.append(f"line {number}: {inner['resourceType']}: {reference} leads nowhere")
    return wrong


def main() -> None:
    wrong, count = [], 0
    for number, line in enumerate(sys.stdin, 1):
        if line.strip():
            count += 1
            wrong += check(number, json.loads(line))
    print("\n".join(wrong))
    print(f"{count} documents, {len(wrong)} problems", file=sys.stderr)
    sys.exit(1 if wrong or not count else 0)


main()
