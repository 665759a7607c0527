"""Sends one HL7 message over MLLP and TLS, by Python's own ssl, and prints MSA-1 of the answer.

usage: tls_client.py HOST PORT FILE CA [CERT KEY]
"""

import socket
import ssl
import sys

import hl7


def main() -> None:
    host, port, name, ca, *own = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    if own:
        context.load_cert_chain(*own)
    with open(name, "rb") as file:
        message = file.read()
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as stream:
            stream.sendall(b"\x0b" + message + b"\x1c\r")
            answer = b""
            while not answer.endswith(b"\x1c\r"):
                piece = stream.recv(65536)
                if not piece:
                    sys.exit("closed without an answer")
                answer += piece
            print(stream.version(), hl7.parse(answer.strip(b"\x0b\x1c\r").decode() + "\r").segment("MSA")[1])


main()
