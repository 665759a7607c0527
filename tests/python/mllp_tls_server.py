"""An MLLP listener over TLS of Python's standard library that asks for a certificate and answers AA. Prints its port, then for
each message whom the client's certificate names, and the type.

usage: mllp_tls_server.py CERT KEY CLIENT_CA
"""

import socket
import ssl
import sys


def answered(connection: ssl.SSLSocket) -> None:
    shown = connection.getpeercert() or {}
    names = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
    heard = b""
    while not heard.endswith(b"\x1c\r"):
        more = connection.recv(4096)
        if not more:
            return
        heard += more
    fields = heard.strip(b"\x0b\x1c\r").split(b"\r")[0].decode().split("|")
    print(",".join(names) or "-", "^".join(fields[8].split("^")[:2]), flush=True)
    head = f"MSH|^~\\&|PY|PY|{fields[2]}|{fields[3]}|20260512||ACK|1|P|2.5.1"
    connection.sendall(f"\x0b{head}\rMSA|AA|{fields[9]}\r\x1c\r".encode())


def main() -> None:
    cert, key, client_ca = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(client_ca)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        plain, _ = listener.accept()
        plain.settimeout(10)
        try:
            with context.wrap_socket(plain, server_side=True) as connection:
                answered(connection)
        except (OSError, UnicodeError, IndexError):
            plain.close()


main()
