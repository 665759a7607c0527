"""Those who are told of alerts: a mail server (aiosmtpd, with STARTTLS and a password), a webhook (it checks the signature),
a log server (the parser of syslog-rfc5424-parser). Prints its port, then each notice as a line of JSON.

usage: alert_receivers.py smtp PORT CERT KEY USER PASSWORD
       alert_receivers.py webhook PORT SECRET [CERT KEY]
       alert_receivers.py udp|tcp PORT
       alert_receivers.py tls PORT CERT KEY
"""

import email
import email.policy
import hashlib
import hmac
import http.server
import json
import socketserver
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from syslog_rfc5424_parser import SyslogMessage

lock = threading.Lock()


def tell(notice: dict) -> None:
    with lock:
        print(json.dumps(notice), flush=True)


def smtp(port: str, cert: str, key: str, user: str, password: str) -> None:
    class Handler:
        async def handle_DATA(self, server, session, envelope):
            mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
            tell(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "subject": mail["Subject"],
                    "id": mail["Message-ID"],
                    "date": mail["Date"],
                    "text": mail.get_content(),
                    "tls": session.ssl is not None,
                }
            )
            return "250 taken"

    def known(server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (user.encode(), password.encode()))

    controller = Controller(
        Handler(),
        hostname="127.0.0.1",
        port=int(port),
        tls_context=secured(cert, key),
        require_starttls=True,
        auth_required=True,
        authenticator=known,
    )
    controller.start()
    print(port, flush=True)
    threading.Event().wait()


def secured(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def webhook(port: str, secret: str, *tls: str) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            right = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            is_right = hmac.compare_digest(right, self.headers.get("X-Punte-Signature", ""))
            if is_right:
                tell(json.loads(body))
            self.send_response(204 if is_right else 403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    if tls:
        server.socket = secured(*tls).wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def syslog(transport: str, port: str, *tls: str) -> None:
    def parsed(line: bytes) -> None:
        tell(SyslogMessage.parse(line.decode()).as_dict())

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            parsed(self.request[0])

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            # RFC 6587, 3.4.1: the length in octets, a blank, the message.
            length = b""
            while byte := self.rfile.read(1):
                if byte != b" ":
                    length += byte
                    continue
                parsed(self.rfile.read(int(length)))
                length = b""

    is_udp = transport == "udp"
    server, handler = (socketserver.UDPServer, Datagram) if is_udp else (socketserver.ThreadingTCPServer, Stream)
    with server(("127.0.0.1", int(port)), handler) as serving:
        if tls:
            serving.socket = secured(*tls).wrap_socket(serving.socket, server_side=True)
        print(serving.server_address[1], flush=True)
        serving.serve_forever()


match sys.argv[1:]:
    case ["smtp", *rest]:
        smtp(*rest)
    case ["webhook", *rest]:
        webhook(*rest)
    case [transport, port, *tls]:
        syslog(transport, port, *tls)
