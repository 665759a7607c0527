"""Sends HL7 files over MLLP with the client of PyPI's `hl7` and prints the answers as JSON.

usage: send_samples.py HOST PORT FILE...
"""

import json
import sys

import hl7
from hl7.client import MLLPClient


def main() -> None:
    host, port, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    answers = {}
    with MLLPClient(host, port) as client:
        for name in files:
            with open(name, "rb") as file:
                message = file.read()
            answer = client.send_message(message)
            parsed = hl7.parse(answer.decode("utf-8").strip("\x0b\x1c\r") + "\r")
            msa = parsed.segment("MSA")
            err = [segment for segment in parsed if str(segment[0]) == "ERR"]
            answers[name] = {
                "code": str(msa[1]),
                "control_id": str(msa[2]),
                "errors": [str(segment[3]) for segment in err if len(segment) > 3],
            }
    json.dump(answers, sys.stdout)


main()
