"""The client against a service that is made of answers: what it asks, how often, and what it keeps."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_export.client import (
    Body,
    BrokenExport,
    ClientError,
    ExportClient,
    ExportFailed,
    Patience,
    Refused,
    Unreachable,
    WrongDigest,
)
from spark_export.client.events import Events
from spark_export.client.parts import open_part

URL = "http://service"
FILE = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(FILE).hexdigest()
DONE = {
    "export_id": "e1",
    "state": "completed",
    "sha256": SHA256,
    "bytes": len(FILE),
    "detail": None,
    "content": "/exports/e1/content",
}
PROBLEM = {"Content-Type": "application/problem+json"}

Handler = Callable[[httpx.Request], httpx.Response]


class Sent(httpx.AsyncByteStream):
    """Gives its bytes, and then breaks where it is to."""

    def __init__(self, content: bytes, *, breaks: bool = False) -> None:
        self._content = content
        self._breaks = breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        if self._breaks:
            raise httpx.ReadError("connection lost")


class Service:
    """Answers in the order in which the answers were given; the last one again and again.

    Attributes:
        asked: every request.
        slept: seconds of every pause of the client's.
        told: what it said before each.
    """

    def __init__(self, *answers: httpx.Response | Exception | Handler) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.slept: list[float] = []
        self.told: list[tuple[str, float]] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """The next answer."""
        await request.aread()
        self.asked.append(request)
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, httpx.Response) else found(request)

    async def sleep(self, seconds: float) -> None:
        """Pass no time."""
        self.slept.append(seconds)

    def run(self, use: Callable[[ExportClient], Coroutine[Any, Any, Any]], **options: Any) -> Any:
        """What comes of using a client of it."""

        async def main() -> Any:
            patience = Patience(
                sleep=self.sleep, spread=lambda: 1.0, tell=lambda why, seconds: self.told.append((why, seconds))
            )
            transport = httpx.MockTransport(self.answer)
            async with ExportClient(URL, transport=transport, patience=patience, **options) as client:
                return await use(client)

        return asyncio.run(main())


def receipt(**fields: Any) -> httpx.Response:
    """A receipt."""
    return httpx.Response(200, json=DONE | fields)


def problem(status: int, name: str, **headers: str) -> httpx.Response:
    """A refusal."""
    said = {"type": f"urn:spark-export:problem:{name}", "detail": "no", "field": "limit", "request_id": "r1"}
    return httpx.Response(status, json=said, headers=PROBLEM | headers)


def streamed(stream: httpx.AsyncByteStream | None = None) -> httpx.Response:
    """An export."""
    headers = {"X-Export-Id": "e1", "Content-Type": "text/csv"}
    return httpx.Response(200, headers=headers, stream=stream or Sent(FILE))


def part_of(request: httpx.Request, most: int, *, ranges: bool = True, file: bytes = FILE) -> httpx.Response:
    """Of what is asked for of the file, as many bytes before the connection breaks."""
    begin = int(request.headers.get("Range", "bytes=0-")[6:-1]) if ranges else 0
    digest = base64.b64encode(hashlib.sha256(file).digest()).decode()
    headers = {"ETag": '"t"', "Repr-Digest": f"sha-256=:{digest}:", "Content-Length": str(len(file) - begin)}
    if begin:
        headers["Content-Range"] = f"bytes {begin}-{len(file) - 1}/{len(file)}"
    return httpx.Response(206 if begin else 200, headers=headers, stream=Sent(file[begin : begin + most], breaks=True))


def test_it_is_there_at_once() -> None:
    """What the service is made of is not loaded with its client."""
    script = "import sys, spark_export.client; print({m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"pyarrow", "duckdb", "fastapi", "pydantic", "numpy", "uvicorn", "msgspec"} & set(eval(loaded))  # noqa: S307


@pytest.mark.parametrize("url", ["", "ftp://service", "service:4001", "http://", "http://me:secret@service"])
def test_no_url(url: str) -> None:
    """What is no address of a service is told before it is asked."""
    with pytest.raises(ValueError, match="URL begins with"):
        ExportClient(url)


@pytest.mark.parametrize("url", ["http://a/?x=1", "http://a#x", "http://a:99999"])
def test_a_url_of_something_else(url: str) -> None:
    """Nor is what has a query, a fragment or no such port."""
    with pytest.raises(ValueError, match="neither query nor fragment"):
        ExportClient(url)


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "é"])
def test_no_key(key: str) -> None:
    """What no header may hold is told, and not shown."""
    with pytest.raises(ValueError, match=r"^the API key is empty, or holds a character that no header may$"):
        ExportClient(URL, key)


def test_the_key_goes_with_each_request() -> None:
    """As a bearer token."""
    service = Service(receipt())
    service.run(lambda client: client.receipt("e1"), key="s3cret")
    assert service.asked[0].headers["Authorization"] == "Bearer s3cret"


def test_a_refusal_is_its_problem() -> None:
    """Status, type, detail, field and request id are those of the problem."""
    with pytest.raises(Refused, match=r"^no$") as caught:
        Service(problem(404, "unknown-export")).run(lambda client: client.receipt("e1"))
    assert (caught.value.status, caught.value.field, caught.value.request_id) == (404, "limit", "r1")
    assert caught.value.is_problem("unknown-export")


@pytest.mark.parametrize("answer", [httpx.Response(500, text="oops"), httpx.Response(500, headers=PROBLEM, text="{")])
def test_a_refusal_without_a_problem(answer: httpx.Response) -> None:
    """What is no problem is a status."""
    with pytest.raises(Refused, match="status 500"):
        Service(answer).run(lambda client: client.receipt("e1"))


@pytest.mark.parametrize("text", ["<html>", "[]", "{}"])
def test_another_service(text: str) -> None:
    """What is no receipt is said to be none."""
    with pytest.raises(ClientError, match="is no receipt"):
        Service(httpx.Response(200, text=text)).run(lambda client: client.receipt("e1"))


@pytest.mark.parametrize("export_id", ["", "../../etc/passwd", "a/b", "a b", "é", "a" * 201])
def test_an_id_is_an_id(export_id: str) -> None:
    """It becomes a path and a file's name: nothing else is asked for."""
    service = Service(receipt())
    with pytest.raises(ValueError, match="no id of an export"):
        service.run(lambda client: client.receipt(export_id))
    assert service.asked == []


def test_it_comes_again_when_told() -> None:
    """429 and 503 are asked again after as many seconds as they say, for a stream too: nothing was made of it."""
    busy = [problem(429, "quota-exceeded", **{"Retry-After": "7"}), problem(503, "queue-full", **{"Retry-After": "2"})]
    service = Service(*busy, streamed(), receipt())
    service.run(read)
    assert service.slept == [7, 2]
    assert service.told == [("no", 7), ("no", 2)]


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (problem(503, "queue-full", **{"Retry-After": "1"}), 8),
        (problem(503, "queue-full", **{"Retry-After": "3600"}), 1),
        (problem(503, "source-unavailable"), 1),
        (problem(422, "invalid-field"), 1),
        (httpx.Response(502), 8),
    ],
)
def test_it_gives_up(answer: httpx.Response, times: int) -> None:
    """After so many tries, or at once where nothing would change, or not soon."""
    service = Service(answer)
    with pytest.raises(Refused):
        service.run(lambda client: client.submit({}))
    assert len(service.asked) == times


def test_pauses_grow() -> None:
    """Each is twice as long as the one before, up to a bound, so that a service has time to come up."""
    service = Service(receipt(), httpx.ConnectError("refused"))

    async def twice(client: ExportClient) -> None:
        await client.receipt("e1")
        await client.receipt("e1")

    with pytest.raises(Unreachable, match="http://service: refused"):
        service.run(twice)
    assert service.slept == [0.25, 0.5, 1, 2, 4, 8, 15]


def test_nobody_is_told_at_once() -> None:
    """A service that never answered is not waited for: its address is wrong."""
    service = Service(httpx.ConnectError("refused"))
    with pytest.raises(Unreachable):
        service.run(lambda client: client.submit({}))
    assert len(service.asked) == 1


def test_a_stream_is_not_asked_for_twice() -> None:
    """Nobody knows whether the service makes it already."""
    service = Service(httpx.ReadError("lost"))
    with pytest.raises(Unreachable):
        service.run(read)
    assert len(service.asked) == 1


def test_a_lost_answer_makes_no_second_job() -> None:
    """A job is asked for again under the same key; while the first request still runs there, once more."""
    in_use = problem(409, "idempotency-key-in-use")
    service = Service(httpx.ReadError("lost"), in_use, httpx.Response(202, json=DONE | {"state": "queued"}))
    found = service.run(lambda client: client.submit({"dataset": "trades"}, wait_seconds=5))
    assert found["state"] == "queued"
    (key,) = {request.headers["Idempotency-Key"] for request in service.asked}
    assert (len(service.asked), key[0], key[-1]) == (3, '"', '"')
    assert {request.headers["Prefer"] for request in service.asked} == {"respond-async, wait=5"}
    assert {request.content for request in service.asked} == {b'{"dataset": "trades"}'}


@pytest.mark.parametrize("key", ["", 'a"b', "a\\b", "a b", "é", "a" * 256])
def test_no_idempotency_key(key: str) -> None:
    """What the field cannot hold as it is is told."""
    with pytest.raises(ValueError, match="Idempotency-Key has"):
        Service(receipt()).run(lambda client: client.submit({}, idempotency_key=key))


def test_a_job_that_is_done() -> None:
    """The file that comes at once is left there: its receipt says that it can be had."""
    service = Service(streamed(), receipt())
    assert service.run(lambda client: client.submit({}, wait_seconds=5)) == DONE
    assert service.asked[1].url.path == "/exports/e1"


def test_a_body_of_rows(tmp_path: Path) -> None:
    """A file is sent in parts with its length and type; the request beside it goes into the query."""
    rows = tmp_path / "rows.csv"
    rows.write_bytes(FILE)
    service = Service(httpx.ReadError("lost"), httpx.Response(202, json=DONE))
    body = Body(rows, "text/csv; header=absent", {"format": "pdf"}, "gzip")
    service.run(lambda client: client.submit(body))
    for asked in service.asked:
        assert asked.content == FILE
        assert asked.headers["Content-Length"] == str(len(FILE))
        assert (asked.headers["Content-Type"], asked.headers["Content-Encoding"]) == (body.media_type, "gzip")
        assert json.loads(asked.url.params["options"]) == {"format": "pdf"}


def test_a_body_that_comes_once() -> None:
    """What gives its bytes once is not sent a second time."""

    async def rows() -> AsyncIterator[bytes]:
        yield b"a\r\n"

    service = Service(problem(503, "queue-full", **{"Retry-After": "1"}))
    with pytest.raises(Refused):
        service.run(lambda client: client.submit(Body(rows(), "text/csv")))
    assert [request.content for request in service.asked] == [b"a\r\n"]


def test_a_body_is_no_name() -> None:
    """A name in the place of the file that it names would be sent as the rows."""
    with pytest.raises(TypeError, match="a Path of the file"):
        Body("orders.csv", "text/csv")  # type: ignore[arg-type]


def test_what_cannot_be_sent_is_not_tried_again() -> None:
    """A head that HTTP cannot hold is the caller's mistake."""
    service = Service(httpx.LocalProtocolError("Illegal header value"))
    with pytest.raises(ClientError, match="cannot be sent: Illegal header value"):
        service.run(lambda client: client.save(Body(b"", "text/csv\r\nX: y"), "a.csv"))
    assert len(service.asked) == 1


@pytest.mark.parametrize("seconds", [-1, 0.5, 301])
def test_no_wait(seconds: float) -> None:
    """What the service would not keep to is refused here."""
    with pytest.raises(ValueError, match="from 0 to 300"):
        Service(receipt()).run(lambda client: client.submit({}, wait_seconds=seconds))  # type: ignore[arg-type]


def test_no_coding() -> None:
    """Nor is there another content coding."""
    with pytest.raises(ValueError, match="gzip or zstd"):
        ExportClient(URL, coding="br")


def test_somebody_elses_answer() -> None:
    """A redirect names where the service may be; what else is no export is said to be none."""
    moved = httpx.Response(301, headers={"Location": "https://service/export"})
    for use in (lambda client: client.submit({}), read):
        with pytest.raises(ClientError, match=r"leads to https://service/export: give the service's own URL"):
            Service(moved).run(use)
        with pytest.raises(ClientError, match="status 200 and is no export"):
            Service(httpx.Response(200, text="<html>")).run(use)


def test_many_at_once() -> None:
    """As many calls as there are have a connection each: those that wait for jobs hold up no other."""

    async def main() -> None:
        come, all_there = 0, asyncio.Event()

        async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal come
            come += 1
            if come == 150:
                all_there.set()
            await all_there.wait()
            writer.close()

        server = await asyncio.start_server(take, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        async with server, ExportClient(f"http://127.0.0.1:{port}", patience=Patience(tries=1)) as client:
            asking = [asyncio.create_task(client.receipt("e1")) for _ in range(150)]
            async with asyncio.timeout(20):
                await all_there.wait()
            assert all(isinstance(each, ClientError) for each in await asyncio.gather(*asking, return_exceptions=True))

    asyncio.run(main())


def test_no_json() -> None:
    """What JSON cannot hold is told before it is asked."""
    with pytest.raises(ValueError, match="JSON compliant"):
        Service(receipt()).run(lambda client: client.submit({"limit": float("nan")}))


async def read(client: ExportClient) -> bytes:
    """All bytes of a stream."""
    async with client.stream({"dataset": "trades"}) as answer:
        return b"".join([chunk async for chunk in answer])


def test_a_stream_is_checked() -> None:
    """Its bytes are the file's; other bytes than the receipt states are told at their end."""
    assert Service(streamed(), receipt()).run(read) == FILE
    for fields in ({"sha256": "00"}, {"bytes": 1}):
        with pytest.raises(WrongDigest):
            Service(streamed(), receipt(**fields)).run(read)


@pytest.mark.parametrize(
    ("after", "kind", "says"),
    [
        (receipt(state="failed", sha256=None, detail="too many rows"), ExportFailed, "^too many rows$"),
        (receipt(state="cancelled", sha256=None), BrokenExport, "broke off after 1000 bytes"),
        (problem(404, "unknown-export"), BrokenExport, "broke off after 1000 bytes"),
    ],
)
def test_a_broken_stream(tmp_path: Path, after: httpx.Response, kind: type[ClientError], says: str) -> None:
    """It raises, what the receipt says where that knows more, and leaves nothing behind."""
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(kind, match=says):
        Service(streamed(Sent(FILE[:1000], breaks=True)), after).run(lambda client: client.save({}, target))
    assert (target.read_text(), list(tmp_path.iterdir())) == ("old", [target])


def test_a_job_is_no_stream(tmp_path: Path) -> None:
    """What would make a job is refused before it is asked for; an answer that is a job all the same is no file."""
    service = Service()
    for request in ({"deliver": {"url": "s3://b/k"}}, Body(b"", "text/csv", {"callback_url": "https://h/"})):
        with pytest.raises(ClientError, match="submit it"):
            service.run(lambda client, request=request: client.save(request, tmp_path / "a.csv"))  # type: ignore[misc]
    with pytest.raises(ClientError, match="is no export"):
        Service(httpx.Response(202, json=DONE)).run(read)


def test_saved(tmp_path: Path) -> None:
    """The file is there whole, under its name alone, with the mode of what was there; progress is told."""
    target, told = tmp_path / "a.csv", list[int]()
    target.touch(0o604)
    found = Service(streamed(), receipt()).run(
        lambda client: client.save({}, str(target), lambda loaded, _: told.append(loaded))
    )
    assert (found, target.read_bytes(), told[-1]) == (DONE, FILE, len(FILE))
    assert (list(tmp_path.iterdir()), target.stat().st_mode & 0o777) == ([target], 0o604)


def test_other_bytes_are_not_saved(tmp_path: Path) -> None:
    """Nothing is left of a file that is not what its receipt states."""
    with pytest.raises(WrongDigest):
        Service(streamed(), receipt(sha256="00")).run(lambda client: client.save({}, tmp_path / "a.csv"))
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_save_leaves_nothing(tmp_path: Path) -> None:
    """In the middle of its bytes."""

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield FILE
                await asyncio.sleep(0)

    def there() -> list[Path]:
        return list(tmp_path.iterdir())

    async def cancelled(client: ExportClient) -> None:
        begun = asyncio.Event()
        saving = asyncio.create_task(client.save({}, tmp_path / "a.csv", lambda *_: begun.set()))
        await begun.wait()
        assert len(there()) == 1
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert there() == []

    Service(streamed(Endless())).run(cancelled)


class Job:
    """The file of a job over connections that break.

    Args:
        most: bytes of each connection.
        ranges: whether parts of it can be had.
        file: that is sent.
    """

    def __init__(self, *most: int, ranges: bool = True, file: bytes = FILE) -> None:
        self._most = list(most)
        self._ranges = ranges
        self._file = file
        self.parts: list[tuple[str | None, str | None]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The receipt, or the next part."""
        if not request.url.path.endswith("/content"):
            return receipt()
        self.parts.append((request.headers.get("Range"), request.headers.get("If-Range")))
        most = self._most.pop(0) if len(self._most) > 1 else self._most[0]
        return part_of(request, most, ranges=self._ranges, file=self._file)


def test_a_download_goes_on(tmp_path: Path) -> None:
    """Where a connection breaks the next one goes on, under the tag of the first; the file is whole."""
    job = Job(1000, 0, 500_000, len(FILE))
    target = tmp_path / "a.csv"
    service = Service(job)
    assert service.run(lambda client: client.download("e1", target)) == DONE
    assert (target.read_bytes(), list(tmp_path.iterdir())) == (FILE, [target])
    assert job.parts == [
        (None, None),
        ("bytes=1000-", '"t"'),
        ("bytes=1000-", '"t"'),
        ("bytes=501000-", '"t"'),
    ]
    assert service.slept == [0.25, 0.5, 0.25]  # a byte that comes is progress


def test_a_download_without_parts(tmp_path: Path) -> None:
    """A service that sends the whole file again is read from its beginning; what is here is passed over."""
    job = Job(1000, 5000, 2000, len(FILE), ranges=False)
    target = tmp_path / "a.csv"
    Service(job).run(lambda client: client.download("e1", target))
    assert target.read_bytes() == FILE
    assert [asked for asked, _ in job.parts] == [None, "bytes=1000-", "bytes=5000-", "bytes=5000-"]


def test_content_ends_with_its_block() -> None:
    """Who reads on after the block has left it connects to nobody."""
    service = Service(receipt(), lambda request: part_of(request, len(FILE)))

    async def use(client: ExportClient) -> Any:
        async with client.content("e1") as content:
            await anext(content)
        with pytest.raises(RuntimeError, match="has ended"):
            await anext(content)

    service.run(use)
    assert len(service.asked) == 2


def test_the_name_of_a_folder(tmp_path: Path) -> None:
    """It is refused before anything is asked for."""
    service = Service(receipt())
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        service.run(lambda client: client.save({"dataset": "trades"}, tmp_path))
    assert (service.asked, list(tmp_path.iterdir()), list(tmp_path.parent.glob(".spark-export-*"))) == ([], [], [])


def test_a_redirect_is_no_part_of_the_file(tmp_path: Path) -> None:
    """Where a proxy leads elsewhere in the middle of a download, what has come is kept."""
    target, login = tmp_path / "a.csv", httpx.Response(302, headers={"Location": "/login"}, content=b"x" * 5000)
    service = Service(receipt(), lambda request: part_of(request, 1000), login)
    with pytest.raises(ClientError, match="leads to /login"):
        service.run(lambda client: client.download("e1", target))
    (part,) = tmp_path.iterdir()
    assert part.read_bytes() == FILE[:1000]


NESTED = b"[" * 200_000


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=NESTED),
        httpx.Response(200, json=DONE | {"bytes": None}),
        httpx.Response(200, json=DONE | {"state": []}),
        httpx.Response(503, headers={"Retry-After": "9" * 5000}),
        httpx.Response(422, headers={"Content-Type": "application/problem+json"}, content=NESTED),
        httpx.Response(200, headers={"X-Export-Id": "a b"}),
    ],
    ids=["nested", "no bytes", "no state", "long wait", "nested problem", "no id"],
)
def test_odd_answers(tmp_path: Path, answer: httpx.Response) -> None:
    """Whatever comes, what is raised is of this client."""
    for use in (
        lambda client: client.receipt("e1"),
        lambda client: client.submit({"dataset": "trades"}),
        lambda client: client.save({"dataset": "trades"}, tmp_path / "a.csv"),
        lambda client: client.download("e1", tmp_path / "a.csv"),
    ):
        with pytest.raises(ClientError):
            Service(answer).run(use)


def test_a_digest_that_is_none(tmp_path: Path) -> None:
    """A Repr-Digest that cannot be read states nothing; the receipt does."""
    whole = httpx.Response(200, headers={"Repr-Digest": "sha-256=:A:"}, stream=Sent(FILE))
    assert Service(receipt(), whole).run(lambda client: client.download("e1", tmp_path / "a.csv")) == DONE


def test_a_download_gives_up(tmp_path: Path) -> None:
    """After as many connections without a byte; what has come is kept, and the next process goes on with it."""
    target = tmp_path / "a.csv"
    with pytest.raises(BrokenExport, match="broke off after 1000 bytes"):
        Service(Job(1000, 0)).run(lambda client: client.download("e1", target))
    (part,) = tmp_path.iterdir()
    assert part.read_bytes() == FILE[:1000]
    again = Job(len(FILE))
    Service(again).run(lambda client: client.download("e1", target))
    assert again.parts == [("bytes=1000-", None)]
    assert (target.read_bytes(), list(tmp_path.iterdir())) == (FILE, [target])


def test_a_part_is_not_kept(tmp_path: Path) -> None:
    """Where it is not to be."""
    with pytest.raises(BrokenExport):
        Service(Job(1000, 0)).run(lambda client: client.download("e1", tmp_path / "a.csv", keep_part=False))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_part_is_not_kept(tmp_path: Path) -> None:
    """Nor is one that has nothing in it, as where the file was delivered elsewhere."""
    with pytest.raises(Refused):
        Service(receipt(), problem(404, "no-content")).run(lambda client: client.download("e1", tmp_path / "a.csv"))
    assert list(tmp_path.iterdir()) == []


def test_a_whole_part_is_not_loaded(tmp_path: Path) -> None:
    """A process that ended before the file took its name leaves nothing to load."""
    (tmp_path / ".spark-export-e1.part").write_bytes(FILE)
    job = Job(0)
    Service(job).run(lambda client: client.download("e1", tmp_path / "a.csv"))
    assert (job.parts, (tmp_path / "a.csv").read_bytes()) == ([], FILE)


@pytest.mark.parametrize("left", [b"x" * 1000, FILE + b"x"])
def test_a_wrong_part(tmp_path: Path, left: bytes) -> None:
    """A part that is not the file's raises at the end, and is gone then: the next time it is loaded anew."""
    part, target = tmp_path / ".spark-export-e1.part", tmp_path / "a.csv"
    part.write_bytes(left)
    with pytest.raises(WrongDigest):
        Service(Job(len(FILE))).run(lambda client: client.download("e1", target))
    assert list(tmp_path.iterdir()) == []
    Service(Job(len(FILE))).run(lambda client: client.download("e1", target))
    assert target.read_bytes() == FILE


def test_another_file_is_told_by_its_digest(tmp_path: Path) -> None:
    """A file that states another digest than the receipt is not read at all."""
    with pytest.raises(WrongDigest, match="its receipt states"):
        Service(Job(len(FILE), file=FILE[::-1])).run(lambda client: client.download("e1", tmp_path / "a.csv"))
    assert list(tmp_path.iterdir()) == []


def test_another_process_has_the_part(tmp_path: Path) -> None:
    """Two do not write one file."""

    async def both(client: ExportClient) -> None:
        async with open_part(tmp_path / "b.csv", "e1.part"):
            with pytest.raises(BlockingIOError, match="another process"):
                await client.download("e1", tmp_path / "a.csv")
        await client.download("e1", tmp_path / "a.csv")

    Service(Job(len(FILE))).run(both)


def test_a_link_is_no_part(tmp_path: Path) -> None:
    """Whoever puts a link in the place of the part has nothing written through it."""
    (tmp_path / "passwd").write_text("mine")
    (tmp_path / ".spark-export-e1.part").symlink_to("passwd")
    with pytest.raises(OSError, match="Too many levels"):
        Service(Job(len(FILE))).run(lambda client: client.download("e1", tmp_path / "a.csv"))
    assert (tmp_path / "passwd").read_text() == "mine"


@pytest.mark.parametrize("state", ["completed", "expired"])
def test_no_file_of_what_is_not_kept(tmp_path: Path, state: str) -> None:
    """Nor is there one of a stream, of what was delivered, or of what has expired; it is said by the same error."""
    with pytest.raises(ExportFailed, match=f"no file of this export, which is {state}"):
        Service(receipt(state=state, content=None)).run(lambda client: client.download("e1", tmp_path / "a.csv"))
    assert list(tmp_path.iterdir()) == []


def test_no_file_of_what_failed(tmp_path: Path) -> None:
    """The receipt is raised, before anything is made."""
    failed = receipt(state="failed", sha256=None, detail="all is lost")
    with pytest.raises(ExportFailed, match="all is lost") as caught:
        Service(failed).run(lambda client: client.download("e1", tmp_path / "a.csv"))
    assert (caught.value.receipt["state"], list(tmp_path.iterdir())) == ("failed", [])


def test_verify(tmp_path: Path) -> None:
    """The receipt, where the file is its; else it is told which."""
    file = tmp_path / "a.csv"
    file.write_bytes(FILE)
    assert Service(receipt()).run(lambda client: client.verify(file, "e1")) == DONE
    file.write_bytes(FILE[1:])
    with pytest.raises(WrongDigest, match=f"^{len(FILE) - 1} bytes with SHA-256"):
        Service(receipt()).run(lambda client: client.verify(file, "e1"))


def events(*receipts: dict[str, Any], breaks: bool = False) -> httpx.Response:
    """A stream of events, with a comment before each."""
    text = b"".join(b": still here\n\ndata: %s\n\n" % json.dumps(DONE | each).encode() for each in receipts)
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Sent(text, breaks=breaks))


def test_wait_by_events() -> None:
    """Each event is told, also after the stream of them broke; the receipt comes at the end."""
    service = Service(
        events({"state": "queued", "place": 2}, breaks=True),
        receipt(state="running"),
        events({"state": "running", "rows": 5}, {"state": "completed"}),
        receipt(),
    )
    told = list[str]()
    assert service.run(lambda client: client.wait("e1", lambda each: told.append(each["state"]))) == DONE
    assert told == ["queued", "running", "running", "completed"]


def test_what_a_callback_raises_comes_out() -> None:
    """An exception of whoever is told is nobody else's to catch."""

    def fail(_: dict[str, Any]) -> None:
        raise ValueError("a bug of the caller's")

    with pytest.raises(ValueError, match="of the caller's"):
        Service(events({"state": "completed"}), receipt()).run(lambda client: client.wait("e1", fail))


def test_wait_by_looking() -> None:
    """Where there are no events the job is looked at as often as the service says."""
    running = httpx.Response(200, json=DONE | {"state": "running", "sha256": None}, headers={"Retry-After": "3"})
    for none in (problem(404, "unknown"), receipt()):
        service = Service(none, running, running, receipt())
        assert service.run(lambda client: client.wait("e1")) == DONE
        assert (service.slept, len(service.asked)) == ([3, 3], 4)


@pytest.mark.parametrize("broken", [httpx.ReadTimeout(""), httpx.ConnectError("")])
def test_wait_where_events_do_not_come(broken: Exception) -> None:
    """A proxy that holds back what has no end is asked for events once; the job is looked at."""
    running = httpx.Response(200, json=DONE | {"state": "running", "sha256": None}, headers={"Retry-After": "3"})
    service = Service(running, broken, running, receipt())

    async def use(client: ExportClient) -> Any:
        await client.receipt("e1")
        return await client.wait("e1")

    assert service.run(use) == DONE
    assert (service.slept, len(service.asked)) == ([3], 4)


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired"])
def test_wait_for_what_fails(state: str) -> None:
    """What ends in another way is raised with its receipt."""
    with pytest.raises(ExportFailed) as caught:
        Service(events({"state": state}), receipt(state=state)).run(lambda client: client.wait("e1"))
    assert caught.value.receipt["state"] == state


def test_cancel() -> None:
    """It is a DELETE."""
    service = Service(httpx.Response(204))
    service.run(lambda client: client.cancel("e1"))
    assert (service.asked[0].method, service.asked[0].url.path) == ("DELETE", "/exports/e1")


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(302, headers={"Location": "/login"})]
)
def test_nothing_was_cancelled(answer: httpx.Response) -> None:
    """An answer of somebody else's cancels nothing, and is no success."""
    with pytest.raises(ClientError, match=r"is no export|leads to /login"):
        Service(answer).run(lambda client: client.cancel("e1"))


def test_cancel_is_asked_once() -> None:
    """A second DELETE would remove what the first has cancelled."""
    service = Service(httpx.ReadError(""), httpx.Response(204))
    with pytest.raises(Unreachable):
        service.run(lambda client: client.cancel("e1"))
    assert len(service.asked) == 1


@given(
    st.lists(st.dictionaries(st.text(), st.text(), min_size=1), max_size=5),
    st.sampled_from([b"\n", b"\r\n"]),
    st.data(),
)
def test_events_come_in_any_parts(sent: list[dict[str, str]], end: bytes, data: st.DataObject) -> None:
    """Wherever the stream is cut, its events are those that were sent."""
    texts = [json.dumps(each, ensure_ascii=False).encode("utf-8", "surrogatepass") for each in sent]
    stream = b"".join(b"id: 1" + end + b"data: " + text + end + b": comment" + end + end for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    parser = Events()
    parts = [stream[begin:stop] for begin, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [event for part in parts for event in parser.feed(part)] == [json.loads(text) for text in texts]
