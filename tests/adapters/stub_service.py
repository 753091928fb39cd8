"""A small real HTTP server with the flags of the scoring service; run as a program by tests.

``GET /health/ready`` answers 200. ``POST /v1/decisions`` answers ``{"id", "version"}``; with
``fail`` in the version it answers 503. ``GET /seen`` tells how many it got, mirrored or not.
"""

from __future__ import annotations

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    version = ""
    seen: dict[str, int] = {"direct": 0, "shadow": 0}  # noqa: RUF012 one per process on purpose
    lock = threading.Lock()

    def do_GET(self) -> None:
        if self.path == "/seen":
            self._answer(200, self.seen)
        else:
            self._answer(200 if self.path == "/health/ready" else 404, {"version": self.version})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        with self.lock:
            self.seen["shadow" if "-shadow" in self.headers["host"] else "direct"] += 1
        if "fail" in self.version:
            self._answer(503, {"error": "told to fail"})
        elif isinstance(body, dict) and body.get("bad"):
            self._answer(422, {"error": "bad row"})
        else:
            known = body.get("id") if isinstance(body, dict) else None
            self._answer(200, {"id": known, "version": self.version})

    def _answer(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
        self.wfile.write(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)

    def log_message(self, *args: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def main() -> None:
    """Listen until killed."""
    parser = argparse.ArgumentParser()
    for name in ("bundle", "store", "host", "version", "digest", "keys", "log"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--port", type=int, required=True)
    flags = parser.parse_args()
    if "broken" in flags.bundle:
        raise SystemExit(f"bundle {flags.bundle} is broken: model.onnx is missing")
    _Handler.version = flags.version
    _Server((flags.host, flags.port), _Handler).serve_forever()


if __name__ == "__main__":
    main()
