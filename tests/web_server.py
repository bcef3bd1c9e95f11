"""A web server in a process of its own, good and bad: the first part of an address says how.

``/MODE/RUN/name.tif`` serves ``name.tif``; what was asked under ``/MODE/RUN`` is counted apart, and
told as JSON by ``/log/MODE/RUN``. It has a process of its own because rasterio holds Python's lock
in some calls that wait for an answer.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

HEADER = 16384
"""What GDAL asks for first."""


@dataclass
class Request:
    """One request, and how many bytes of the file were sent."""

    method: str
    path: str
    start: int | None
    stop: int
    sent: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_late(self) -> bool:
        return self.start is not None and self.start >= HEADER


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder = Path()
    asked: dict[str, list[Request]] = defaultdict(list)  # noqa: RUF012  one server a process

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        if self.path.startswith("/log/"):
            log = [asdict(request) for request in self.asked[self.path.removeprefix("/log/")]]
            self.send(200, json.dumps(log).encode())
        else:
            self._serve()

    def _serve(self) -> None:
        mode, run, name = self.path.partition("?")[0].lstrip("/").split("/", 2)
        found = self.folder / name
        self.content = found.read_bytes() if found.is_file() else None
        self.marks = {"ETag": f'"{found.name}-1"'}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        size = len(self.content or b"")
        start = int(asked[1]) if asked else None
        stop = min(int(asked[2] or size) + 1, size) if asked else size
        self.asked_for = Request(
            self.command, self.path, start, stop, headers=dict(self.headers.items())
        )
        log = self.asked[f"{mode}/{run}"]
        log.append(self.asked_for)
        late = [r for r in log if r.is_late]
        getattr(self, mode)(len(log), len(late) if self.asked_for.is_late else 0)

    def send(self, status: int, body: bytes = b"", sized: bool = True, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if sized:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def body(self) -> tuple[bytes, dict[str, str]]:
        """What was asked for, and its headers."""
        asked, content = self.asked_for, self.content
        headers = {"Accept-Ranges": "bytes", **self.marks}
        if asked.start is None:
            return content, headers
        headers["Content-Range"] = f"bytes {asked.start}-{asked.stop - 1}/{len(content)}"
        return content[asked.start : asked.stop], headers

    def fine(self, _number: int, _late: int) -> None:
        if self.content is None:
            self.send(404)
            return
        body, headers = self.body()
        self.asked_for.sent = len(body) if self.command == "GET" else 0
        self.send(200 if self.asked_for.start is None else 206, body, **headers)

    def _begin(self) -> bytes:
        body, headers = self.body()
        self.send_response(206)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        return body

    def trickles(self, number: int, late: int) -> None:
        """All that is behind the header comes slowly."""
        if not late:
            self.fine(number, late)
            return
        body = self._begin()
        step = max(1, len(body) // 20)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(0.005)

    def busy(self, number: int, late: int) -> None:
        self.send(503) if number <= 2 else self.fine(number, late)

    def busy_for_long(self, number: int, late: int) -> None:
        """Longer than GDAL tries."""
        self.send(503) if 0 < late <= 6 else self.fine(number, late)

    def down(self, number: int, late: int) -> None:
        """From the first request behind the header on."""
        if any(r.is_late for r in self.asked[self.log]):
            self.send(503)
        else:
            self.fine(number, late)

    def always_busy(self, _number: int, _late: int) -> None:
        self.send(503)

    def too_many(self, number: int, late: int) -> None:
        self.send(429, Retry_After="1") if number <= 2 else self.fine(number, late)

    def always_too_many(self, _number: int, _late: int) -> None:
        self.send(429, Retry_After="1")

    def _cut(self) -> None:
        body = self._begin()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def cut(self, number: int, late: int) -> None:
        """Closed in the middle of a body, twice."""
        self._cut() if 0 < late <= 2 else self.fine(number, late)

    def always_cut(self, number: int, late: int) -> None:
        self._cut() if late else self.fine(number, late)

    def reset(self, number: int, late: int) -> None:
        """No answer at all."""
        if not 0 < late <= 2:
            self.fine(number, late)
            return
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def short(self, number: int, late: int) -> None:
        """Less than was asked for, and it says so; twice."""
        if 0 < late <= 2:
            self.asked_for.stop = (self.asked_for.start + self.asked_for.stop) // 2
        self.fine(number, late)

    def stalls(self, number: int, late: int) -> None:
        """Goes silent in the middle of the first body behind the header."""
        if late != 1:
            self.fine(number, late)
            return
        body = self._begin()
        self.wfile.write(body[: len(body) // 2])
        time.sleep(4)
        self.close_connection = True

    def always_stalls(self, number: int, late: int) -> None:
        if not late:
            self.fine(number, late)
            return
        self._begin()
        time.sleep(4)
        self.close_connection = True

    def whole(self, number: int, late: int) -> None:
        """The whole file, whatever was asked for."""
        self.asked_for.start = None
        self.fine(number, late)

    def gone(self, number: int, late: int) -> None:
        """From the first request behind the header on."""
        if any(r.is_late for r in self.asked[self.log]):
            self.send(404)
        else:
            self.fine(number, late)

    def forbidden(self, _number: int, _late: int) -> None:
        self.send(403)

    def unauthorized(self, _number: int, _late: int) -> None:
        self.send(401)

    def no_head(self, number: int, late: int) -> None:
        self.send(405) if self.command == "HEAD" else self.fine(number, late)

    def signed(self, number: int, late: int) -> None:
        """As addresses that are signed for GET."""
        self.send(403) if self.command == "HEAD" else self.fine(number, late)

    def unsized(self, number: int, late: int) -> None:
        """Bodies end where the connection does."""
        if self.command == "HEAD":
            self.fine(number, late)
            return
        body, headers = self.body()
        self.asked_for.sent = len(body)
        self.send(206, body, sized=False, **headers)

    def never_sized(self, _number: int, _late: int) -> None:
        body, headers = self.body()
        self.send(200 if self.asked_for.start is None else 206, body, sized=False, **headers)

    def unmarked(self, number: int, late: int) -> None:
        """Without ETag and Last-Modified."""
        self.marks = {}
        self.fine(number, late)

    def replaced(self, number: int, late: int) -> None:
        """Another file of that name since the first request behind the header."""
        if any(r.is_late for r in self.asked[self.log]):
            self.marks = {"ETag": '"2"', "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}
        self.fine(number, late)

    def no_table(self, number: int, late: int) -> None:
        """What follows the header is refused; there lies the rest of the table of the blocks."""
        near = late and self.asked_for.start < 4 * HEADER
        self.send(503) if near else self.fine(number, late)

    def fails_late(self, number: int, late: int) -> None:
        """Nothing of the last blocks, until it is asked for with another query."""
        query, asked, size = self.path.partition("?")[2], self.asked_for, len(self.content)
        if query.startswith("version"):
            self.marks = {"ETag": '"2"', "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}
        last = asked.start is not None and asked.start < size - HEADER and asked.stop > 0.93 * size
        if last and query == self.asked[self.log][0].path.partition("?")[2]:
            self.send(503)
        else:
            self.fine(number, late)

    @property
    def log(self) -> str:
        return "/".join(self.path.lstrip("/").split("/")[:2])

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512  # else connections that come at once are begun anew after seconds

    def handle_error(self, *_: object) -> None:
        """Who hangs up has his reasons."""


class Site:
    """A running server."""

    def __init__(self, root: str) -> None:
        self._root, self._runs = root, count()

    def address(self, mode: str, name: str) -> str:
        """Of a file, for one run; what is asked for under it is counted from here on."""
        return f"{self._root}/{mode}/{next(self._runs)}/{name}"

    def log(self, address: str) -> list[Request]:
        mode, run = address.removeprefix(f"{self._root}/").split("/")[:2]
        with urllib.request.urlopen(f"{self._root}/log/{mode}/{run}") as answer:
            return [Request(**request) for request in json.load(answer)]

    def sent(self, address: str) -> int:
        """Bytes of the file."""
        return sum(request.sent for request in self.log(address))


@contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """A server of the files of a folder."""
    argv = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as server:
        try:
            yield Site(f"http://127.0.0.1:{int(server.stdout.readline())}")
        finally:
            server.stdin.close()


def main(folder: str) -> None:
    Handler.folder = Path(folder)
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)  # noqa: T201
    sys.stdin.read()  # until whoever started it closes it


if __name__ == "__main__":
    main(*sys.argv[1:])
