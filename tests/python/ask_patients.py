"""Asks for patients over MLLP (QBP^Q22) with the client of PyPI's `hl7` and prints the answers as JSON.

usage: ask_patients.py HOST PORT < questions, one of QPD-3 a line, with RCP-2 behind a blank where there is one
"""

import json
import sys

import hl7
from hl7.client import MLLPClient


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    answers = []
    with MLLPClient(host, port) as client:
        for number, line in enumerate(sys.stdin.read().splitlines()):
            conditions, _, limit = line.partition(" ")
            message = "\r".join(
                [
                    "MSH|^~\\&|LIS|LAB|PUNTE|TEST|20260505083000+0300||QBP^Q22^QBP_Q21"
                    f"|Q{number}|P|2.5.1|||||ROU|UNICODE UTF-8",
                    f"QPD|Q22^Find Candidates^HL7nnnn|TAG-{number}|{conditions}",
                    f"RCP|I|{limit}^RD" if limit else "RCP|I",
                    "",
                ]
            )
            answer = hl7.parse(client.send_message(message).decode("utf-8").strip("\x0b\x1c\r") + "\r")
            segments = {}
            for segment in answer:
                segments.setdefault(str(segment[0]), []).append(segment)
            answers.append(
                {
                    "type": str(segments["MSH"][0][9]),
                    "code": str(segments["MSA"][0][1]),
                    "control_id": str(segments["MSA"][0][2]),
                    "tag": str(segments["QAK"][0][1]),
                    "status": str(segments["QAK"][0][2]),
                    "hits": [str(field) for field in segments["QAK"][0][4:7]],
                    "asked": str(segments["QPD"][0][3]),
                    "errors": [str(segment[8]) for segment in segments.get("ERR", [])],
                    "patients": sorted(f"{segment[3]} {segment[5]} {segment[7]}" for segment in segments.get("PID", [])),
                }
            )
    json.dump(answers, sys.stdout)


main()
