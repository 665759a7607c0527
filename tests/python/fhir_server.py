"""A small FHIR server of our own, for questions: reads and searches of Patient by identifier.

Its resources are made and checked by `fhir.resources`. It prints its port; what it was asked since the last time is told at
/asked. Patients
whose number begins with BAD- make it misbehave: SLOW, HTML, HUGE, OTHER, REFUSE, DROP.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from fhir.resources.bundle import Bundle
from fhir.resources.patient import Patient

MR = "urn:oid:1.2.3"


def patient(ident, number, family, given, phone):
    return Patient.model_validate(
        {
            "id": ident,
            "identifier": [{"system": MR, "value": number}],
            "name": [{"use": "official", "family": family, "given": [given]}],
            "telecom": [{"system": "phone", "value": phone}],
            "birthDate": "1980-05-14",
        }
    )


PATIENTS = [
    patient("77", "P-1", "\u021a\u00eeru & Fiii", "Ana", "0740 111 222"),
    patient("78", "P-2", "Pop", "Ion", "0740 333 444"),
    patient("79", "P-2", "Popa", "Ioan", "0740 555 666"),
]


ASKED = []


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/fhir+json"):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/asked":
            told, ASKED[:] = list(ASKED), []
            return self.answer(200, json.dumps(told))
        ASKED.append(self.path)
        url = urlsplit(self.path)
        if not url.path.startswith("/fhir/Patient"):
            return self.answer(404, "nothing here", "text/plain")
        if not url.query:
            ident = url.path.removeprefix("/fhir/Patient/")
            for one in PATIENTS:
                if one.id == ident:
                    return self.answer(200, one.model_dump_json())
            outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-found"}]}
            return self.answer(404, json.dumps(outcome))
        asked = parse_qs(url.query).get("identifier", [""])[0]
        number = asked.split("|")[-1]
        if number.startswith("BAD-"):
            return self.misbehave(number.removeprefix("BAD-"))
        found = [one for one in PATIENTS if one.identifier[0].value == number]
        self.searchset(found)

    def searchset(self, found):
        bundle = Bundle.model_validate(
            {
                "type": "searchset",
                "total": len(found),
                "entry": [
                    {"fullUrl": f"http://x/fhir/Patient/{one.id}", "resource": one.model_dump(), "search": {"mode": "match"}}
                    for one in found
                ],
            }
        )
        self.answer(200, bundle.model_dump_json())

    def misbehave(self, how):
        if how == "SLOW":
            time.sleep(30)
        elif how == "HTML":
            self.answer(200, "<html>Welcome</html>", "text/html")
        elif how == "HUGE":
            self.answer(200, json.dumps({"resourceType": "Bundle", "type": "searchset", "x": "y" * 3_000_000}))
        elif how == "OTHER":
            self.answer(200, json.dumps({"resourceType": "Patient", "id": "1"}))
        elif how == "REFUSE":
            self.answer(403, "no", "text/plain")
        elif how == "DROP":
            self.connection.shutdown(2)


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Server)
print(server.server_address[1], flush=True)
server.serve_forever()
