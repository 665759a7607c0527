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


def broken(value, name: str = "") -> list[str]:
    """The rules of FHIR beside structure that are errors and that `fhir.resources` does not look at."""
    if isinstance(value, list):
        return [rule for inner in value for rule in broken(inner, name)]
    if not isinstance(value, dict):
        return []
    wrong = [rule for field, inner in value.items() for rule in broken(inner, field)]

    def there(field: str) -> bool:
        return field in value or f"_{field}" in value

    def codes(field: str) -> set:
        return {coding.get("code") for coding in value.get(field, {}).get("coding", [])}

    kind = value.get("resourceType")
    if name == "repeat":
        meals = {"C", "CM", "CD", "CV"}
        if "offset" in value and (not value.get("when") or meals & set(value["when"])):
            wrong.append("tim-9")
        if "countMax" in value and "count" not in value:
            wrong.append("tim-8")
        if "timeOfDay" in value and "when" in value:
            wrong.append("tim-10")
    if name.lower().endswith("period") and "start" in value and "end" in value:
        if len(value["start"]) == len(value["end"]) <= 10 and value["end"] < value["start"]:
            wrong.append("per-1")
    if name == "telecom" and "value" in value and not there("system"):
        wrong.append("cpt-2")
    if kind == "Appointment":
        if there("start") != there("end"):
            wrong.append("app-2")
        if not there("start") and value["status"] not in ("proposed", "cancelled", "waitlist"):
            wrong.append("app-3")
    if kind == "Organization":
        wrong += ["org-2" for one in value.get("address", []) if one.get("use") == "home"]
        wrong += ["org-3" for one in value.get("telecom", []) if one.get("use") == "home"]
    if kind == "Condition" and any(field.startswith("abatement") for field in value):
        if not codes("clinicalStatus") & {"inactive", "resolved", "remission"}:
            wrong.append("con-4")
    return wrong


def check(number: int, resource: dict) -> list[str]:
    wrong = []
    kind = resource.get("resourceType", "?")
    try:
        get_fhir_model_class(kind).model_validate(resource)
    except Exception as error:  # noqa: BLE001: whatever it is, it is told
        wrong.append(f"line {number}: {kind}: {str(error)[:500]}")
    if kind != "Bundle":
        wrong += [f"line {number}: {kind}: {rule}" for rule in broken(resource)]
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
