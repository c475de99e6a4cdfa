"""An S3 endpoint on loopback: moto's server, which says what it was asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "exports"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}


class Quiet(WSGIRequestHandler):
    """A handler that logs nothing."""

    def log(self, *_: Any) -> None:
        """Log nothing."""


@dataclass
class S3:
    """A running endpoint.

    Attributes:
        url: where it answers.
        filesystem: Arrow's, that may write.
        asked: method, key and bytes of every request that it answered.
        broken: keys whose reading fails from now on.
    """

    url: str
    filesystem: Any
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def write(self, key: str, data: bytes) -> None:
        """Put an object."""
        with self.filesystem.open_output_stream(f"{BUCKET}/{key}") as stream:
            stream.write(data)

    def read_bytes(self, key: str) -> int:
        """Bytes of the object that were handed out."""
        return sum(size for method, asked, size in self.asked if (method, asked) == ("GET", f"/{BUCKET}/{key}"))


@contextmanager
def running_s3() -> Iterator[S3]:
    """An endpoint with an empty bucket."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from pyarrow import fs

    asked: list[tuple[str, str, int]] = []
    broken: set[str] = set()
    inner = DomainDispatcherApplication(create_backend_app)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        key = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] == "GET" and key in {f"/{BUCKET}/{each}" for each in broken}:
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        body = b"".join(inner(environ, start_response))
        asked.append((environ["REQUEST_METHOD"], key, len(body)))
        return [body]

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        filesystem = fs.S3FileSystem(
            access_key="testing", secret_key="testing", region="us-east-1", scheme="http",  # noqa: S106
            endpoint_override=f"127.0.0.1:{server.port}", allow_bucket_creation=True,
        )  # fmt: skip
        filesystem.create_dir(BUCKET)
        yield S3(f"http://127.0.0.1:{server.port}", filesystem, asked, broken)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
