"""A FHIR R4 server of our own, in memory, as no light one from PyPI takes transactions offline: transactions of updates,
conditional or by id, each resource checked by PyPI's `fhir.resources`. It gives its own ids (letters and digits, none of
ours), answers with Location as FHIR R4 3.1.0.8 says, and refuses an update of an id that it has not given.

Prints its port, then each update as a line: type, id, how it was found (`created`, `found`, `by id`).

usage: fhir_store.py
"""

import http.server
import json
import sys
import threading
import urllib.parse

from fhir.resources.R4B import get_fhir_model_class

LOCK = threading.Lock()
STORE: dict[tuple[str, str], dict] = {}
VERSIONS: dict[tuple[str, str], int] = {}


class Refused(Exception):
    pass


def find(kind: str, query: str) -> list[str]:
    system, _, value = urllib.parse.parse_qs(query)["identifier"][0].replace("\\", "").partition("|")
    return [
        id
        for (of, id), resource in STORE.items()
        if of == kind
        and any(one.get("system") == system and one.get("value") == value for one in resource.get("identifier", []))
    ]


def place(request: dict) -> tuple[str, str, str]:
    kind, _, rest = request["url"].partition("/")
    if rest:
        if (kind, rest) not in STORE and kind != "Provenance":
            raise Refused(f"there is no {kind} {rest}")
        return kind, rest, "by id"
    kind, _, query = kind.partition("?")
    found = find(kind, query)
    if len(found) > 1:
        raise Refused(f"several {kind}")
    if found:
        return kind, found[0], "found"
    return kind, f"srv{len(VERSIONS) + 1}", "created"


def transaction(bundle: dict) -> dict:
    places, names = [], {}
    for entry in bundle["entry"]:
        kind, id, how = place(entry["request"])
        VERSIONS.setdefault((kind, id), 0)
        places.append((kind, id, how))
        names[entry["fullUrl"]] = f"{kind}/{id}"
    answers = []
    for entry, (kind, id, how) in zip(bundle["entry"], places):
        resource = entry["resource"]
        get_fhir_model_class(kind).model_validate(resource)
        if how == "by id" and resource.get("id") != id:
            raise Refused(f"{kind}: the id of the resource is not that of its address")
        text = json.dumps(resource)
        for name, reference in names.items():
            text = text.replace(f'"{name}"', f'"{reference}"')
        STORE[kind, id] = json.loads(text)
        VERSIONS[kind, id] += 1
        print(kind, id, how, flush=True)
        answers.append(
            {
                "response": {
                    "status": "201 Created" if how == "created" else "200 OK",
                    "location": f"{kind}/{id}/_history/{VERSIONS[kind, id]}",
                }
            }
        )
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with LOCK:
            try:
                status, answer = 200, transaction(json.loads(body))
            except Exception as error:  # noqa: BLE001: whatever it is, it is told
                issue = {"severity": "error", "code": "invalid", "diagnostics": str(error)[:300]}
                status, answer = 422, {"resourceType": "OperationOutcome", "issue": [issue]}
                print("refused", str(error)[:300].replace("\n", " "), flush=True)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


sys.exit(main())
