"""Posts documents over one connection, as a program of a partner does.

    post_documents.py HOST PORT PATH CONTENT-TYPE < documents, one JSON text a line

Prints for each a line of JSON: status, content type, body.
"""

import http.client
import json
import sys

host, port, path, content_type = sys.argv[1:5]
connection = http.client.HTTPConnection(host, int(port), timeout=30)
for line in sys.stdin:
    body = json.loads(line).encode("utf-8")
    connection.request("POST", path, body, {"Content-Type": content_type, "X-Source": "python"})
    answer = connection.getresponse()
    print(json.dumps({
        "status": answer.status,
        "type": answer.getheader("Content-Type"),
        "body": answer.read().decode("utf-8"),
    }))
