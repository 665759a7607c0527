"""A laboratory system that works in the enhanced mode of HL7 (v2.5.1, 2.9.3), with PyPI's `hl7`.

Each order is answered with a commit accept (CA) at once; its application acknowledgement (AA) follows a little later on
a connection of its own, and is sent again, the same bytes, until it is committed to. An order that comes once more is
answered with CA and is not worked twice. Prints the port that it listens on, then a line for each thing that it does.

usage: lis_enhanced.py HOST PORT (where the application acknowledgements go)
"""

import queue
import random
import socket
import socketserver
import sys
import threading
import time

import hl7

START, END = b"\x0b", b"\x1c\r"
LATER: queue.Queue = queue.Queue()
SEEN: set[str] = set()
LOCK = threading.Lock()


def say(*words: str) -> None:
    with LOCK:
        print(*words, flush=True)


def frames(stream):
    buffer = b""
    while True:
        chunk = stream.recv(65536)
        if not chunk:
            return
        buffer += chunk
        while END in buffer:
            frame, buffer = buffer.split(END, 1)
            yield frame.split(START, 1)[-1].decode("utf-8")


def header(to: hl7.Message, kind: str, control_id: str, accept: str) -> str:
    msh = to.segment("MSH")
    return (
        f"MSH|^~\\&|{msh[5]}|{msh[6]}|{msh[3]}|{msh[4]}|20260505083000+0300||{kind}|{control_id}|P|2.5.1"
        f"|||{accept}|NE||UNICODE UTF-8\r"
    )


class Orders(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            for frame in frames(self.request):
                order = hl7.parse(frame)
                control_id = str(order.segment("MSH")[10])
                assert [str(order.segment("MSH")[field]) for field in (15, 16)] == ["AL", "AL"]
                with LOCK:
                    is_new = control_id not in SEEN
                    SEEN.add(control_id)
                say("order", control_id)
                accept = header(order, "ACK^O21^ACK", f"C-{control_id}", "NE") + f"MSA|CA|{control_id}\r"
                if is_new:
                    # Some are worked before the commit accept has left.
                    LATER.put((time.monotonic() + random.choice([0, 0.005, 0.05]), order, control_id))
                self.request.sendall(START + accept.encode() + END)
        except OSError:
            pass


def acknowledge(host: str, port: int) -> None:
    while True:
        due, order, control_id = LATER.get()
        time.sleep(max(0.0, due - time.monotonic()))
        text = header(order, "ACK^O21^ACK", f"A-{control_id}", "AL") + f"MSA|AA|{control_id}\r"
        while True:
            try:
                with socket.create_connection((host, port), timeout=30) as stream:
                    stream.sendall(START + text.encode() + END)
                    answer = hl7.parse(next(frames(stream)))
                    code = str(answer.segment("MSA")[1])
                    say("told", control_id, code)
                    if code == "CA":
                        break
            except (OSError, StopIteration):
                pass
            time.sleep(0.02)


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    random.seed(7)
    for _ in range(3):
        threading.Thread(target=acknowledge, args=(host, port), daemon=True).start()
    socketserver.ThreadingTCPServer.daemon_threads = True
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Orders)
    say(str(server.server_address[1]))
    server.serve_forever()


main()
