"""A server of S3 on this machine, which fails where a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

BUCKET = "maps"
REGION = "us-east-1"


@dataclass
class BucketServer:
    """What moto has in memory, behind a port of its own."""

    port: int = 0
    refuses: Callable[[str, str], bool] = lambda _method, _path: False
    """Whether a request is answered by 503."""
    heard: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """For processes that use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_RETRY_MODE": "standard",  # three tries in about a second
        }

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Name under a prefix -> content."""
        from moto.backends import get_backend

        keys = get_backend("s3")["123456789012"]["aws"].buckets[BUCKET].keys
        return {
            name.removeprefix(f"{prefix}/"): keys[name].value
            for name in list(keys)
            if name.startswith(f"{prefix}/")
        }

    def __call__(self, app: Any) -> Any:
        """Around an application of WSGI."""

        def answer(environ: Any, start: Any) -> Any:
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            self.heard.append((method, path))
            if self.refuses(method, path):
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start("503 Slow Down", [("Content-Length", "0")])
                return [b""]
            return app(environ, start)

        return answer


@contextmanager
def serving() -> Iterator[BucketServer]:
    """A server with one bucket."""
    from moto.backends import get_backend
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: Any) -> None:
            pass

    server = BucketServer()
    app = server(DomainDispatcherApplication(create_backend_app))
    http = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    server.port = http.port
    get_backend("s3")["123456789012"]["aws"].create_bucket(BUCKET, REGION)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
