"""A server of Python's standard library that a script calls. Prints its port, then each request as a line: method, path,
whom the authorization names, length, and body.

usage: http_server.py [CERT KEY]
"""

import http.server
import json
import ssl
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        who = "known" if self.headers.get("Authorization") == "Bearer sesame" else "-"
        # In one piece: several threads write.
        sys.stdout.write(f"{self.command} {self.path} {who} {len(body)} {body.decode('utf-8', 'replace')}\n")
        sys.stdout.flush()
        path = self.path.split("?")[0]
        if path == "/api/away":
            self.answer(302, "", Location="http://127.0.0.1:9/elsewhere")
        elif path == "/api/slow":
            time.sleep(5)
            self.answer(200, "late")
        elif path == "/api/cut":
            # Sent, and no answer comes.
            self.close_connection = True
        elif path == "/api/long":
            self.answer(200, "x" * (2 << 20))
        elif path.startswith("/api/status/"):
            self.answer(int(path.rsplit("/", 1)[1]), "no")
        elif path.startswith("/api/wards/"):
            self.answer(200, json.dumps({"code": "W-" + path.rsplit("/", 1)[1]}))
        elif path == "/api/orders" and self.command == "POST":
            self.answer(201, json.dumps({"id": "A-77"}))
        elif path == "/api/changes":
            since = int(self.path.partition("since=")[2] or "0")
            numbers = [n for n in range(1, 6) if since < n][:2]
            self.answer(200, json.dumps({"rows": [{"nr": n, "name": f"Row {n}"} for n in numbers]}))
        else:
            self.answer(404, "")

    do_GET = do_POST = do_PUT = do_DELETE = serve

    def answer(self, status: int, text: str, **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if sys.argv[1:]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[1:])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
