"""An HTTPS server of Python's standard library that takes what is posted. Prints its port, then each request as a line:
method, path, length, and whom the client's certificate names.

usage: https_server.py CERT KEY [CLIENT_CA]
"""

import http.server
import json
import ssl
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        shown = self.connection.getpeercert() or {}
        names = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
        print(self.command, self.path, len(body), ",".join(names) or "-", flush=True)
        try:
            entries = json.loads(body).get("entry", [])
        except ValueError:
            entries = []
        answered = [{"response": {"status": "200 OK"}} for _ in entries]
        bundle = {"resourceType": "Bundle", "type": "transaction-response", "entry": answered}
        answer = json.dumps(bundle).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    cert, key, *client_ca = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca[0])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
