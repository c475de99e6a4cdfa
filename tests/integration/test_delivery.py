"""Delivery to a real S3 endpoint, and to endpoints that hold, refuse, redirect, break off or say nothing."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from spark_export.delivery import bucket as bucket_module
from spark_export.delivery import put as put_module
from spark_export.delivery.bucket import PART_BYTES, PARTS_IN_FLIGHT, Upload, open_upload
from spark_export.delivery.put import put_file
from spark_export.errors import DeliveryFailed
from tests.s3 import BUCKET, CREDENTIALS, S3, running_s3

MIB = 2**20
SECRET = "hunter2-hunter2"  # noqa: S105 - what must not be told
AWS_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AWS_CHECKSUM_ALGORITHM", "AWS_SESSION_TOKEN", "AWS_TOKEN")


class Broken(Exception):
    """What goes wrong in a block."""


@dataclass
class Bucket:
    """The bucket, as another client sees it."""

    s3: S3
    client: Any

    def keys(self) -> set[str]:
        """All keys."""
        return {each["Key"] for each in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())}

    def uploads(self) -> list[str]:
        """Keys of the uploads that are neither completed nor aborted."""
        return [each["Key"] for each in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())]

    def abort_uploads(self) -> None:
        """Abort what a test left, as a lifecycle rule would."""
        for each in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()):
            self.client.abort_multipart_upload(Bucket=BUCKET, Key=each["Key"], UploadId=each["UploadId"])

    def content(self, key: str) -> bytes:
        """An object's."""
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def signed(self, key: str, media_type: str) -> str:
        """A URL that takes one PUT."""
        params = {"Bucket": BUCKET, "Key": key, "ContentType": media_type}
        url: str = self.client.generate_presigned_url("put_object", Params=params)
        return url


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    """An S3 endpoint."""
    with running_s3() as made:
        yield made


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """The bucket, empty, which the environment leads to."""
    for name in AWS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    client = boto3.client(
        "s3", endpoint_url=s3.url, region_name="us-east-1", aws_access_key_id="testing",
        aws_secret_access_key="testing",  # noqa: S106
    )  # fmt: skip
    found = Bucket(s3, client)
    for key in sorted(found.keys()):
        client.delete_object(Bucket=BUCKET, Key=key)
    found.abort_uploads()
    yield found
    client.close()


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A request's head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    return head, await reader.readexactly(int(length[1]) if length else 0)


def answer(status: str, *fields: str, body: bytes = b"") -> bytes:
    """A response, after which the connection ends."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


Handle = Callable[[bytes, bytes], Awaitable[bytes]]


@asynccontextmanager
async def serving(handle: Handle) -> AsyncGenerator[str, None]:
    """A server that answers a request's head and body with what the function returns; with nothing, it breaks off."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, EOFError):
                writer.write(await handle(*await read_request(reader)))
                await writer.drain()
        finally:
            writer.close()
            await asyncio.wait({asyncio.create_task(writer.wait_closed())})

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=MIB)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@dataclass
class Door:
    """Before the endpoint: it holds requests, answers them itself, or lets them pass.

    Attributes:
        s3: the endpoint.
        holds: a pattern of the request lines whose requests are held until `opened`, before they are passed.
        refuses: a pattern of those that are answered with a 403.
        asked: every request's line.
        answered: the lines of those that the endpoint has answered.
        held: requests that wait.
        arrived: set whenever one begins to wait.
        opened: lets them go.
    """

    s3: S3
    holds: str = "(?!)"
    refuses: str = "(?!)"
    asked: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    held: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, head: bytes, body: bytes) -> bytes:
        """The answer."""
        line = head.split(b"\r\n", 1)[0].decode()
        self.asked.append(line)
        if re.search(self.refuses, line):
            return answer("403 Forbidden", body=b"<Error><Code>AccessDenied</Code></Error>")
        if re.search(self.holds, line):
            self.held += 1
            self.arrived.set()
            await self.opened.wait()
            self.held -= 1
        passed = await self._pass(head, body)
        self.answered.append(line)
        return passed

    async def _pass(self, head: bytes, body: bytes) -> bytes:
        host, port = self.s3.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head) + body)
            return await reader.read(-1)
        finally:
            writer.close()

    async def until_held(self, count: int) -> None:
        """Return when so many requests wait."""
        async with asyncio.timeout(10):
            while self.held < count:
                self.arrived.clear()
                await self.arrived.wait()

    async def until_answered(self, pattern: str) -> None:
        """Return when the endpoint has answered such a request."""
        async with asyncio.timeout(10):
            while not any(re.search(pattern, line) for line in self.answered):  # noqa: ASYNC110 - obstore's threads ask
                await asyncio.sleep(0.01)


CREATE, PART, COMPLETE, ABORT = r"^POST .*\?uploads", "^PUT .*partNumber", "^POST .*uploadId", "^DELETE .*uploadId"


def chunks(size_bytes: int, chunk_bytes: int = 300_000) -> Iterator[bytes | memoryview]:
    """A file in pieces, of both kinds."""
    for number, start in enumerate(range(0, size_bytes, chunk_bytes)):
        piece = hashlib.blake2b(number.to_bytes(8, "big")).digest() * (chunk_bytes // 64 + 1)
        piece = piece[: min(chunk_bytes, size_bytes - start)]
        yield memoryview(piece) if number % 2 else piece


async def send(upload: Upload, size_bytes: int) -> None:
    """Send so much of a file."""
    for chunk in chunks(size_bytes):
        await upload.write(chunk)


async def deliver(size_bytes: int, key: str = "a.csv", end: Callable[[Upload], Awaitable[Any]] = Upload.finish) -> Any:
    """What comes of a delivery of a file."""
    async with open_upload(f"s3://{BUCKET}/{key}", "text/csv", 'attachment; filename="a.csv"') as upload:
        await send(upload, size_bytes)
        await end(upload)
        return upload.object_tag


def assert_whole(bucket: Bucket, key: str, size_bytes: int) -> None:
    """The object is the file, and nothing else is left."""
    digest = hashlib.sha256(b"".join(bytes(each) for each in chunks(size_bytes))).hexdigest()
    assert hashlib.sha256(bucket.content(key)).hexdigest() == digest
    assert bucket.uploads() == []


@pytest.mark.parametrize("size_bytes", [0, 1, 5 * MIB, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 40 * MIB])
def test_whole(bucket: Bucket, size_bytes: int) -> None:
    """The object is the file, byte by byte, with the headers of a download, and the receipt knows its etag."""
    delivered = asyncio.run(deliver(size_bytes, "in/a.csv"))
    found = bucket.client.head_object(Bucket=BUCKET, Key="in/a.csv")
    assert delivered == found["ETag"]
    assert (found["ContentType"], found["ContentDisposition"]) == ("text/csv", 'attachment; filename="a.csv"')
    assert_whole(bucket, "in/a.csv", size_bytes)


def test_checksum(bucket: Bucket) -> None:
    """S3 keeps the checksum that the parts came with."""
    asyncio.run(deliver(20 * MIB))
    assert bucket.client.head_object(Bucket=BUCKET, Key="a.csv", ChecksumMode="ENABLED")["ChecksumSHA256"]


@pytest.mark.parametrize("key", ["a=1/t%C3%BCr.csv", "x/%2e%2e/a+b~c&d.csv", "a'b(c)!*,:;@$[d]{e}^|`.csv", '<a>"b'])
def test_key_as_it_is(bucket: Bucket, key: str) -> None:
    """The object's key is the URL's text, nothing of it decoded or encoded."""
    asyncio.run(deliver(10, key))
    assert bucket.keys() == {key}


@pytest.mark.parametrize("size_bytes", [0, 1, PART_BYTES, 20 * MIB, 40 * MIB])
@pytest.mark.parametrize("existing", [True, False])
def test_failure_midway(bucket: Bucket, size_bytes: int, *, existing: bool) -> None:
    """A block that fails leaves neither an object nor parts, and what was there before as it was."""
    if existing:
        bucket.s3.write("a.csv", b"before")

    async def fail(_: Upload) -> None:
        raise Broken

    with pytest.raises(Broken):
        asyncio.run(deliver(size_bytes, end=fail))
    assert bucket.uploads() == []
    assert bucket.keys() == ({"a.csv"} if existing else set())
    assert not existing or bucket.content("a.csv") == b"before"


@pytest.mark.parametrize("size_bytes", [0, 1, 20 * MIB])
def test_not_finished(bucket: Bucket, size_bytes: int) -> None:
    """A block that ends well but does not finish leaves nothing."""

    async def forget(_: Upload) -> None:
        """Do nothing."""

    asyncio.run(deliver(size_bytes, end=forget))
    assert (bucket.uploads(), bucket.keys()) == ([], set())


def with_door(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, play: Callable[[Door], Awaitable[None]], **what: Any
) -> Door:
    """Play with a door before the endpoint."""

    async def run() -> Door:
        door = Door(bucket.s3, **what)
        async with serving(door.handle) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            await play(door)
        return door

    return asyncio.run(run())


async def cancel(task: asyncio.Task[Any]) -> float:
    """Seconds that a task takes to be cancelled."""
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - began


@pytest.mark.parametrize("size_bytes", [1, PART_BYTES - 1, PART_BYTES + 1, 20 * MIB])
def test_cancelled_in_the_block(bucket: Bucket, size_bytes: int) -> None:
    """A block that is cancelled leaves nothing, at once."""

    async def play() -> None:
        there = asyncio.Event()

        async def linger(_: Upload) -> None:
            there.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(deliver(size_bytes, end=linger))
        await there.wait()
        assert await cancel(task) < 1

    asyncio.run(play())
    assert (bucket.uploads(), bucket.keys()) == ([], set())


def test_cancelled_while_parts_are_sent(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts on their way do not hold up a cancellation: the upload is aborted at once."""

    async def play(door: Door) -> None:
        task = asyncio.create_task(deliver(40 * MIB))
        await door.until_held(PARTS_IN_FLIGHT)
        assert await cancel(task) < 0.8
        assert re.search(ABORT, door.answered[-1])

    with_door(bucket, monkeypatch, play, holds=PART)
    assert (bucket.uploads(), bucket.keys()) == ([], set())


def test_cancelled_while_the_upload_is_made(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload whose id is still on its way is aborted when it is known, though nobody waits for that any more."""

    async def play(door: Door) -> None:
        task = asyncio.create_task(deliver(20 * MIB))
        await door.until_held(1)
        assert await cancel(task) < 1
        door.opened.set()
        await door.until_answered(ABORT)

    with_door(bucket, monkeypatch, play, holds=CREATE)
    assert (bucket.uploads(), bucket.keys()) == ([], set())


def test_loop_ends_while_the_upload_is_made(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload is aborted even where the event loop that began it has ended."""
    monkeypatch.setattr(bucket_module, "END_SECONDS", 0.01)
    door = Door(bucket.s3, holds=CREATE)

    async def begin() -> None:
        task = asyncio.create_task(deliver(20 * MIB))
        await asyncio.to_thread(arrived.wait)
        await cancel(task)

    async def play() -> None:
        async with serving(door.handle) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            elsewhere = asyncio.create_task(asyncio.to_thread(asyncio.run, begin()))
            await door.until_held(1)
            arrived.set()
            await elsewhere
            door.opened.set()
            await door.until_answered(ABORT)

    arrived = threading.Event()
    asyncio.run(play())
    assert (bucket.uploads(), bucket.keys()) == ([], set())


@pytest.mark.parametrize("holds", ["partNumber=2&", COMPLETE])
def test_cancelled_while_finishing(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, holds: str) -> None:
    """Who cancels a delivery's end waits no second, and S3 ends it: the object is whole, and no part is left."""

    async def play(door: Door) -> None:
        task = asyncio.create_task(deliver(PART_BYTES + 10))
        await door.until_held(1)
        assert await cancel(task) < 1
        door.opened.set()
        await door.until_answered(COMPLETE)

    with_door(bucket, monkeypatch, play, holds=holds)
    assert_whole(bucket, "a.csv", PART_BYTES + 10)


def test_bounded_ahead(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than two parts are on their way at once, and the writer waits for them."""

    async def play(door: Door) -> None:
        sent = 0

        async def run() -> None:
            nonlocal sent
            async with open_upload(f"s3://{BUCKET}/a.csv", "text/csv") as upload:
                for chunk in chunks(40 * MIB):
                    await upload.write(chunk)
                    sent += len(chunk)
                await upload.finish()

        task = asyncio.create_task(run())
        await door.until_held(PARTS_IN_FLIGHT)
        before = sent
        for _ in range(100):
            await asyncio.sleep(0)
        assert (door.held, sent) == (PARTS_IN_FLIGHT, before)
        assert sent <= PARTS_IN_FLIGHT * PART_BYTES + 2 * bucket_module.BLOCK_BYTES
        door.opened.set()
        await task

    with_door(bucket, monkeypatch, play, holds=PART)
    assert_whole(bucket, "a.csv", 40 * MIB)


@pytest.mark.parametrize(
    ("refuses", "size_bytes"),
    [("^PUT", 10), (CREATE, 20 * MIB), ("partNumber=1&", 40 * MIB), ("partNumber=2&", PART_BYTES + 10),
     (COMPLETE, 20 * MIB)],
)  # fmt: skip
def test_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, refuses: str, size_bytes: int) -> None:
    """Whatever the bucket refuses, nothing is left, and the caller is told what the service may not, and no more."""

    async def play(door: Door) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", SECRET)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        with pytest.raises(DeliveryFailed) as caught:
            await deliver(size_bytes)
        assert (caught.value.field, caught.value.__cause__ is not None) == ("deliver.url", True)
        assert not re.search(rf"127\.0\.0\.1|{SECRET}|uploadId|a\.csv", caught.value.detail)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert len(door.asked) < 10

    with_door(bucket, monkeypatch, play, refuses=refuses)
    assert (bucket.uploads(), bucket.keys()) == ([], set())


def test_may_write_but_not_read(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that may not look at what it wrote has delivered it, without an etag."""

    async def play(_: Door) -> None:
        assert await deliver(10) is None

    with_door(bucket, monkeypatch, play, refuses="^HEAD")
    assert_whole(bucket, "a.csv", 10)


def test_no_bucket(bucket: Bucket) -> None:
    """A bucket that does not exist is an error that says so."""

    async def play(size_bytes: int) -> None:
        async with open_upload("s3://no-such-bucket/a.csv", "text/csv") as upload:
            await send(upload, size_bytes)
            await upload.finish()

    for size_bytes in (10, 20 * MIB):
        with pytest.raises(DeliveryFailed, match="no such bucket"):
            asyncio.run(play(size_bytes))
    assert bucket.uploads() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_ENDPOINT_URL", "127.0.0.1:x y"), ("AWS_CHECKSUM_ALGORITHM", "crc0"), ("AWS_ENDPOINT_URL", "ftp://127.0.0.1/")],
)  # fmt: skip
@pytest.mark.usefixtures("bucket")
def test_bad_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """An environment that cannot be used is a delivery that failed, even where it makes obstore panic."""
    monkeypatch.setenv(name, value)
    with pytest.raises(DeliveryFailed):
        asyncio.run(deliver(10))


@pytest.mark.parametrize("size_bytes", [10, 40 * MIB])
def test_nobody_there(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    """An endpoint that takes no connection is given up within seconds."""

    async def play() -> None:
        async with serving(Door(bucket.s3).handle) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        began = time.monotonic()
        with pytest.raises(DeliveryFailed):
            await deliver(size_bytes)
        assert time.monotonic() - began < 10

    asyncio.run(play())


def test_endpoint_dies_midway(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is gone in the middle of a file is given up within seconds."""

    async def play() -> None:
        door = Door(bucket.s3)
        async with serving(door.handle) as url:
            monkeypatch.setenv("AWS_ENDPOINT_URL", url)
            block = open_upload(f"s3://{BUCKET}/a.csv", "text/csv")
            upload = await block.__aenter__()
            await send(upload, 20 * MIB)
            await door.until_answered("partNumber=2")
        began = time.monotonic()
        with pytest.raises(DeliveryFailed) as caught:
            await upload.finish()
        assert time.monotonic() - began < 15
        assert await block.__aexit__(DeliveryFailed, caught.value, None) is not True

    asyncio.run(play())
    assert bucket.keys() == set()


@pytest.mark.parametrize("holds", [CREATE, PART, COMPLETE, "^PUT .*a.csv "])
def test_silent_endpoint(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, holds: str) -> None:
    """An endpoint that falls silent is given up in its time, and what can be aborted is."""
    monkeypatch.setattr(bucket_module, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(bucket_module, "RETRY_SECONDS", 0.2)

    async def play(door: Door) -> None:
        began = time.monotonic()
        with pytest.raises(DeliveryFailed):
            await deliver(10 if holds.startswith("^PUT .*a") else 40 * MIB)
        assert time.monotonic() - began < 5
        if holds in {PART, COMPLETE}:
            await door.until_answered(ABORT)

    with_door(bucket, monkeypatch, play, holds=holds)
    assert (bucket.uploads(), bucket.keys()) == ([], set())


def test_silent_to_a_cancellation(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """Who cancels a delivery to an endpoint that is silent in everything waits no second."""
    monkeypatch.setattr(bucket_module, "REQUEST_SECONDS", 2)
    monkeypatch.setattr(bucket_module, "RETRY_SECONDS", 0.1)

    async def play(door: Door) -> None:
        task = asyncio.create_task(deliver(40 * MIB))
        await door.until_held(2)
        assert await cancel(task) < 1
        async with asyncio.timeout(10):
            while not caplog.records:  # noqa: ASYNC110 - obstore gives up in its own threads
                await asyncio.sleep(0.01)

    with caplog.at_level(logging.WARNING, "spark_export"):
        door = with_door(bucket, monkeypatch, play, holds=f"{PART}|{ABORT}")
    assert [line for line in door.asked if re.search(ABORT, line)]
    assert f"parts may be left of the upload to s3://{BUCKET}/a.csv" in caplog.text


def test_never_believed_for_ever(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is given up even where obstore itself would wait on."""
    monkeypatch.setattr(bucket_module, "ANSWER_SECONDS", 0.2)

    async def play(_: Door) -> None:
        with pytest.raises(DeliveryFailed, match="does not answer"):
            await deliver(40 * MIB)

    with_door(bucket, monkeypatch, play, holds=PART)
    assert (bucket.uploads(), bucket.keys()) == ([], set())


PEAK = """
import asyncio, sys
from pathlib import Path
from spark_export.delivery.bucket import open_upload

assert "obstore" not in sys.modules

async def main():
    async with open_upload("s3://exports/a.csv", "text/csv") as upload:
        for _ in range(int(sys.argv[1]) * 4):
            await upload.write(bytes(250_000))
        await upload.finish()

asyncio.run(main())
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


async def discard(head: bytes, _: bytes) -> bytes:
    """What an endpoint says that takes all and keeps nothing."""
    created = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
    completed = b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
    if head.startswith(b"HEAD"):
        return answer("403 Forbidden")
    return answer("200 OK", "ETag: e", body=created if b"?uploads" in head else completed)


def peaks_kib(monkeypatch: pytest.MonkeyPatch, *megabytes: int) -> list[int]:
    """Peak memory of processes that deliver so much each; all of them end well, and deliver all."""
    for name in AWS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    taken = 0

    async def take(head: bytes, body: bytes) -> bytes:
        nonlocal taken
        taken += len(body) if head.startswith(b"PUT") else 0
        return await discard(head, body)

    async def play() -> list[int]:
        found = []
        async with serving(take) as url:
            env = os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": url}
            for each in megabytes:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", PEAK, str(each), env=env, stdout=subprocess.PIPE
                )
                out, _ = await process.communicate()
                assert process.returncode == 0
                found.append(int(out))
        return found

    found = asyncio.run(play())
    assert taken == sum(megabytes) * 1_000_000
    return found


def test_memory_is_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 300 MB takes no more memory than one of 50 MB; obstore is loaded for a delivery only."""
    small, large = peaks_kib(monkeypatch, 50, 300)
    assert large < 1.15 * small


def test_process_ends_after_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends right after a delivery ends well, though obstore's threads are just done."""
    assert len(peaks_kib(monkeypatch, *[20] * 12)) == 12


@dataclass(frozen=True)
class Made:
    """A file that is ready."""

    path: Path
    data: bytes

    async def put(self, url: str, **changed: Any) -> str | None:
        """Put it, almost without delays."""
        digest = hashlib.sha256(self.data).hexdigest()
        given: dict[str, Any] = {"size_bytes": len(self.data), "media_type": "text/csv", "sha256_hex": digest}
        return await put_file(url, self.path, delays_seconds=(0.0, 0.001, 0.0), **given | changed)


def made(folder: Path, size_bytes: int = 3 * MIB + 1) -> Made:
    """A file of pieces."""
    data = b"".join(bytes(each) for each in chunks(size_bytes))
    (folder / "made").write_bytes(data)
    return Made(folder / "made", data)


@pytest.mark.parametrize("size_bytes", [0, 1, MIB, 20 * MIB])
def test_put(bucket: Bucket, tmp_path: Path, size_bytes: int) -> None:
    """A presigned URL gets the file, and the receipt its etag but not the signature."""
    url = bucket.signed("in/a b.csv", "text/csv")
    delivered = asyncio.run(made(tmp_path, size_bytes).put(url))
    found = bucket.client.head_object(Bucket=BUCKET, Key="in/a b.csv")
    assert delivered == found["ETag"]
    assert found["ContentType"] == "text/csv"
    assert_whole(bucket, "in/a b.csv", size_bytes)


def puts(folder: Path, *answers: bytes, size_bytes: int = 3 * MIB) -> tuple[list[bytes], Any]:
    """The heads of the requests that a server with these answers gets, and what comes of them."""
    heads: list[bytes] = []
    left = list(answers)

    async def handle(head: bytes, body: bytes) -> bytes:
        heads.append(head)
        assert len(body) == size_bytes
        return left.pop(0)

    async def play() -> Any:
        async with serving(handle) as url:
            return await made(folder, size_bytes).put(f"{url}/b/a%20(b)+c?X-Sig={SECRET}%2F+~*'&x=a/b")

    try:
        return heads, asyncio.run(play())
    except DeliveryFailed as error:
        return heads, error


def test_put_says_little(tmp_path: Path) -> None:
    """The URL goes out as it was signed, with the type and the length of the content and nothing unusual."""
    heads, _ = puts(tmp_path, answer("200 OK"))
    line, *fields = heads[0].decode().rstrip().split("\r\n")
    assert line == f"PUT /b/a%20(b)+c?X-Sig={SECRET}%2F+~*'&x=a/b HTTP/1.1"
    names = {name.lower(): value for name, value in (each.split(": ", 1) for each in fields)}
    assert set(names) == {"host", "content-type", "content-length"}
    assert (names["content-type"], names["content-length"]) == ("text/csv", str(3 * MIB))


FAULT, OK = answer("503 Slow Down"), answer("204 No Content")


@pytest.mark.parametrize("faults", [(FAULT,), (FAULT, FAULT, FAULT), (b"",), (b"", FAULT, b"")])
def test_put_is_repeated(tmp_path: Path, faults: tuple[bytes, ...]) -> None:
    """A 5xx, or a connection that breaks, is tried again up to three times, with the whole file."""
    heads, outcome = puts(tmp_path, *faults, OK)
    assert outcome is None
    assert len(heads) == len(faults) + 1


@pytest.mark.parametrize(
    ("answers", "tries", "text"),
    [((FAULT,) * 5, 4, "answered 503"), ((b"",) * 5, 4, "no answer"), ((answer("403 Forbidden"),), 1, "answered 403"),
     ((answer("400 Bad Request"),), 1, "answered 400"),
     ((answer("307 Temporary Redirect", "Location: http://127.0.0.1:1/"),), 1, "answered 307 with a redirect"),
     ((answer("301 Moved Permanently", "Location: /b"),), 1, "answered 301 with a redirect"),
     ((answer("304 Not Modified"),), 1, "answered 304"), ((b"nonsense\r\n\r\n",) * 5, 4, "no answer")],
)  # fmt: skip
def test_put_is_refused(tmp_path: Path, answers: tuple[bytes, ...], tries: int, text: str) -> None:
    """A 4xx and a redirect fail at once, a 5xx after the last try; the error tells the status and never the query."""
    heads, outcome = puts(tmp_path, *answers)
    assert len(heads) == tries
    assert isinstance(outcome, DeliveryFailed)
    assert text in outcome.detail
    assert outcome.field == "deliver.url"
    assert SECRET not in "".join(traceback.format_exception(outcome))


def test_put_logs_no_query(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that is logged on the way, by any library, holds the query."""
    with caplog.at_level(logging.DEBUG):
        puts(tmp_path, FAULT, OK)
    assert SECRET not in caplog.text


def test_put_refused_early(tmp_path: Path) -> None:
    """A server that refuses before it has read the file is heard."""

    async def play() -> None:
        gone = asyncio.Event()

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer("403 Forbidden"))
            while await reader.read(MIB):
                pass
            writer.close()
            await writer.wait_closed()
            gone.set()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/b/k"
            with pytest.raises(DeliveryFailed, match="answered 403"):
                await made(tmp_path, 30 * MIB).put(url)
            await gone.wait()

    asyncio.run(play())


@pytest.mark.parametrize("change", [b"", b"short", None])
def test_put_of_a_file_that_changed(bucket: Bucket, tmp_path: Path, change: bytes | None) -> None:
    """A file that is not what it was when it was made is not delivered."""
    file = made(tmp_path)
    file.path.write_bytes(file.data[:-1] + b"x" if change is None else change)
    with pytest.raises(DeliveryFailed, match="not what it was"):
        asyncio.run(file.put(bucket.signed("a.csv", "text/csv")))
    assert bucket.keys() == set()


def test_put_of_a_file_that_grew(bucket: Bucket, tmp_path: Path) -> None:
    """Of a file that grew goes out what was made of it."""
    file = made(tmp_path, MIB)
    file.path.write_bytes(file.data + b"more")
    asyncio.run(file.put(bucket.signed("a.csv", "text/csv")))
    assert bucket.content("a.csv") == file.data


def test_put_cancelled(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put that is cancelled ends at once, and waits for no answer."""

    async def play(door: Door) -> None:
        url = bucket.signed("a.csv", "text/csv").replace(bucket.s3.url, os.environ["AWS_ENDPOINT_URL"])
        task = asyncio.create_task(made(tmp_path).put(url))
        await door.until_held(1)
        assert await cancel(task) < 1

    with_door(bucket, monkeypatch, play, holds="^PUT")
    assert bucket.keys() == set()


@pytest.mark.parametrize("reads", [True, False])
def test_put_to_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, reads: bool) -> None:
    """A server that answers nothing, or reads nothing, is given up in its time and not asked again."""
    monkeypatch.setattr(put_module, "TIMEOUTS", {"connect": 0.3, "write": 0.3, "read": 0.3, "pool": 0.3})

    async def play() -> None:
        connections: list[asyncio.StreamWriter] = []

        async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            while reads and await reader.read(MIB):
                pass

        async with await asyncio.start_server(ignore, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/b/k"
            began = time.monotonic()
            with pytest.raises(DeliveryFailed, match="no answer"):
                await made(tmp_path, 30 * MIB).put(url)
            assert time.monotonic() - began < 5
            assert len(connections) == 1
            connections[0].transport.abort()
            with suppress(OSError):
                await connections[0].wait_closed()

    asyncio.run(play())
