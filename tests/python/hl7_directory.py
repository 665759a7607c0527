"""A directory of patients by the server of PyPI's `hl7`: answers QBP^Q22 by RSP^K22, takes everything else with AA.

Prints its port, then a line for each message: the number of its connection, its type, its control id. A question is first
met by a commit acknowledgement (CA), as in enhanced mode, and then by its answer.
"""

import asyncio
import itertools
import sys

import hl7
import hl7.mllp

CONNECTIONS = itertools.count(1)


def answer(question, code, more):
    control_id = str(question.segment("MSH")[10])
    kind = "ACK" if not more else "RSP^K22^RSP_K21"
    lines = [
        f"MSH|^~\\&|DIRECTORY|C|PUNTE|C|20260505083000||{kind}|R{code}{control_id}|P|2.5.1|||||||UNICODE UTF-8",
        f"MSA|{code}|{control_id}",
        *more,
    ]
    return hl7.parse("\r".join(lines) + "\r")


async def serve(reader, writer):
    connection = next(CONNECTIONS)
    try:
        while not writer.is_closing():
            message = await reader.readmessage()
            kind, control_id = str(message.segment("MSH")[9]), str(message.segment("MSH")[10])
            print(connection, kind, control_id, flush=True)
            if not kind.startswith("QBP"):
                writer.writemessage(message.create_ack("AA"))
                await writer.drain()
                continue
            writer.writemessage(answer(message, "CA", []))
            tag = str(message.segment("QPD")[2])
            number = str(message.segment("QPD")[3]).split("^")[1]
            found = [f"QAK|{tag}|OK|Q22|1|1|0", f"QPD|Q22|{tag}", f"PID|1||{number}^^^TEST^MR||Of-{number}^Ana||19800514|F"]
            writer.writemessage(answer(message, "AA", found))
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


async def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    server = await hl7.mllp.start_hl7_server(serve, host="127.0.0.1", port=port, encoding="utf-8")
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
