"""An HTTP server of Python's standard library that takes orders, keeps what it took, and can be asked for it. Of what is
posted to it, it takes every ninth and closes the connection without an answer, and closes before it has taken every
thirteenth. An order is JSON with a `number`, or HL7 with one in MSH-10.

    POST /orders            takes one
    GET  /orders?number=7   200 and the order, or 404
    GET  /taken             the numbers of all that were taken, in their order, as often as they were

Prints its port.

usage: order_receiver.py
"""

import http.server
import json
import socket
import threading
import time
import urllib.parse

LOCK = threading.Lock()
TAKEN: list[str] = []
POSTED = 0


def answer_to(body: bytes) -> tuple[str, bytes]:
    """The number of an order, and what is answered where it is taken."""
    if body.startswith(b"MSH|"):
        number = body.split(b"\r")[0].split(b"|")[9]
        head = b"MSH|^~\\&|ERP|TEST|PUNTE|TEST|20260505083000||ACK|A-" + number + b"|P|2.5.1\r"
        return number.decode(), head + b"MSA|AA|" + number + b"\r"
    return json.loads(body)["number"], b'{"taken": true}'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        global POSTED
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) != length:
            return self.hang_up()
        with LOCK:
            POSTED += 1
            turn = POSTED
        if turn % 13 == 0:
            return self.hang_up()
        time.sleep(0.005)
        number, answer = answer_to(body)
        with LOCK:
            TAKEN.append(number)
        if turn % 9 == 0:
            return self.hang_up()
        self.answer(200, answer)

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        with LOCK:
            taken = list(TAKEN)
        if url.path == "/taken":
            return self.answer(200, json.dumps(taken).encode())
        number = urllib.parse.parse_qs(url.query).get("number", [""])[0]
        if url.path != "/orders" or number not in taken:
            return self.answer(404, b"")
        self.answer(200, json.dumps({"number": number}).encode())

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            # Whoever asked was killed.
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
