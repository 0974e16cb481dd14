"""Receives what Alertmanager sends and writes a line for each alert: in place of the pager or chat that you use."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 9099


def lines(receiver: str, notification: dict) -> list[str]:
    """One line for each alert of a notification: what Alertmanager calls a webhook's JSON."""
    return [
        f"{receiver}: {alert['status'].upper()} {alert['labels'].get('severity', '')} {alert['labels']['alertname']}: "
        f"{alert['annotations'].get('summary', '')}"
        for alert in notification["alerts"]
    ]


class Webhook(BaseHTTPRequestHandler):
    """Answers 200 to what it could read, and 400 to the rest."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            found = lines(self.path.strip("/"), json.loads(body))
        except (ValueError, KeyError, TypeError):
            self.send_error(400)
            return
        sys.stdout.write("".join(f"{line}\n" for line in found))
        sys.stdout.flush()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing of the requests themselves."""


if __name__ == "__main__":
    with ThreadingHTTPServer(("", int(sys.argv[1]) if sys.argv[1:] else PORT), Webhook) as server:
        server.serve_forever()
