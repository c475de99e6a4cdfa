"""README.md and docs/ do what they say: `kinds.KINDS` says how each kind of block is held to it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from spark_export.api.problems import STATUS
from spark_export.errors import ExportError
from tests.acceptance.documents import DOCUMENTS, ROOT, Block, block_of, blocks_of
from tests.acceptance.kinds import Desk, book_of, check, environment, nginx_with, until
from tests.integration.conftest import Server, Start, start  # noqa: F401 - a fixture

API = ROOT / "docs" / "api.md"
BREAKING = """
[datasets.late]
sql = "SELECT CASE WHEN i = 2000000 THEN error('broken') ELSE i END AS x FROM range(3000000) r(i)"
"""


@pytest.fixture(scope="module")
def documented(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Server:  # noqa: F811
    """The service of the documents: it has the datasets that they speak of."""
    folder = book_of(tmp_path_factory.mktemp("docs") / "book", block_of("datasets.md", "toml datasets").text)
    return start(DATASETS=str(folder / "datasets.toml"), LOG_LEVEL="warning")


@pytest.fixture(scope="module")
def breaking(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Server:  # noqa: F811
    """A service whose dataset `late` breaks off in the middle."""
    folder = book_of(tmp_path_factory.mktemp("docs") / "book", BREAKING)
    return start(DATASETS=str(folder / "datasets.toml"), LOG_LEVEL="error")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_block_does_what_it_says(
    document: Path,
    documented: Server,
    start: Start,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Every block of the document is of a known kind, and passes that kind's check, one after the other."""
    desk = Desk(tmp_path, documented, start)
    for block in blocks_of(document):
        check(block, desk)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_block_escapes(document: Path) -> None:
    """Each line that looks like a fence is one of a block."""
    fences = re.findall(r"^[ \t>]*(?:```|~~~)", document.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(blocks_of(document))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_link_leads_somewhere(document: Path) -> None:
    """The files that a document links to exist, and have the heading that it names."""
    for target, heading in re.findall(r"\]\((?!\w+:)([^)#]*)#?([^)]*)\)", document.read_text(encoding="utf-8")):
        linked = document.parent / target if target else document
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {anchor_of(each) for each in headings}, f"{target}#{heading}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_named_exists(document: Path) -> None:
    """The tests and scripts of which the document speaks are there."""
    text = document.read_text(encoding="utf-8")
    files = {path.name: path for path in (ROOT / "tests").rglob("*.py")}
    assert set(re.findall(r"test_\w+\.py", text)) <= files.keys()
    for name, function in re.findall(r"`(test_\w+\.py)`: `(test_\w+)`", text):
        assert f"def {function}(" in files[name].read_text(encoding="utf-8")
    scripts = re.findall(r"(?<![\w/.])scripts/\w+(?:\.\w+)?", text)
    assert [each for each in scripts if not (ROOT / each).is_file()] == []


def anchor_of(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_each_document_is_listed() -> None:
    """README.md links to every file in docs/."""
    linked = set(re.findall(r"\]\(docs/([^)#]*)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert linked >= {path.name for path in (ROOT / "docs").iterdir() if path.is_file()}


@pytest.mark.parametrize("kind", ["sh", "python", "javascript"])
def test_a_whole_file_is_kept(kind: str, documented: Server, start: Start, tmp_path: Path) -> None:  # noqa: F811
    """Each program of docs/api.md leaves the file that the service makes, and nothing beside it."""
    check(block_of("api.md", kind), Desk(tmp_path, documented, start))
    (found,) = tmp_path.glob("trades*")
    assert found.name == "trades.csv"
    assert found.read_bytes() == documented.get("/export?dataset=trades").content


@pytest.mark.parametrize("kind", ["sh", "python", "javascript", "javascript browser"])
def test_a_broken_file_is_told(kind: str, breaking: Server, start: Start, tmp_path: Path) -> None:  # noqa: F811
    """Each program of docs/api.md fails where the export breaks in the middle, and leaves no file of the name."""
    block = block_of("api.md", kind)
    broken = Block(block.document, block.line, kind, block.text.replace("trades", "late"))
    with pytest.raises(AssertionError):
        check(broken, Desk(tmp_path, breaking, start))
    (receipt,) = breaking.get("/exports?limit=1").json()
    assert (receipt["dataset"], receipt["state"]) == ("late", "failed")
    assert receipt["sent_bytes"] > 0
    assert not (tmp_path / "late.csv").exists()


@pytest.mark.parametrize("kind", ["python", "javascript", "javascript browser"])
def test_other_bytes_are_told(kind: str, documented: Server, start: Start, tmp_path: Path) -> None:  # noqa: F811
    """Each program fails where its bytes are not those of the receipt."""
    block = block_of("api.md", kind)
    other = re.sub(r"receipt(\[\"sha256\"\]|\.sha256)", '"00"', block.text)
    assert other != block.text
    with pytest.raises(AssertionError, match="not the bytes"):
        check(Block(block.document, block.line, kind, other), Desk(tmp_path, documented, start))
    assert list(tmp_path.glob("trades*")) == []


class Busy(BaseHTTPRequestHandler):
    """Refuses twice, then answers."""

    statuses: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        """Answer by what is left."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.statuses.pop(0))
        if self.statuses:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture
def busy() -> Iterator[str]:
    """Where one listens who refuses twice."""
    Busy.statuses = [429, 503, 200]
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def test_the_retry_asks_again(busy: str, tmp_path: Path) -> None:
    """The program of docs/api.md comes back until it is served."""
    block = block_of("api.md", "python", "Retry-After")
    program = block.text.replace("127.0.0.1:4001", busy)
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, check=True)
    assert Busy.statuses == []


def test_the_errors_are_the_errors() -> None:
    """The table of docs/api.md has every kind of error with its status, and no other."""
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", API.read_text(encoding="utf-8"), re.MULTILINE)
    shown = {(name, int(status)) for status, names in rows for name in re.findall(r"`(.*?)`", names)}
    assert shown == {(kind.slug, status_of(kind).value) for kind in kinds_of(ExportError)}


def status_of(kind: type[ExportError]) -> HTTPStatus:
    """What the service answers it with."""
    return next(STATUS[each] for each in kind.__mro__ if each in STATUS)


def kinds_of(kind: type[ExportError]) -> Iterator[type[ExportError]]:
    """It and all kinds below it."""
    yield kind
    for each in kind.__subclasses__():
        yield from kinds_of(each)


def test_nginx_breaks_what_is_broken(breaking: Server, start: Start, tmp_path: Path) -> None:  # noqa: F811
    """Behind the nginx of docs/deployment.md, a broken export is a broken export."""
    with nginx_with(block_of("deployment.md", "nginx"), Desk(tmp_path, breaking, start)) as url:
        said = subprocess.run(["curl", "-sSf", "-o", tmp_path / "late.csv", f"{url}/export?dataset=late"])
    assert said.returncode == 18


def test_the_configuration_is_the_settings() -> None:
    """docs/configuration.md is what its generator makes."""
    subprocess.run([sys.executable, ROOT / "scripts" / "write_docs.py", "--check"], check=True)


WITH_DOCKER = [each for each in DOCUMENTS if any(block.kind == "sh docker" for block in blocks_of(each))]
DOCKER = (
    shutil.which("docker") is not None and not subprocess.run(["docker", "version"], capture_output=True).returncode
)


@pytest.mark.skipif(not DOCKER, reason="no Docker Engine answers")
@pytest.mark.parametrize("document", WITH_DOCKER, ids=lambda path: path.name)
def test_the_docker_blocks_run(document: Path, tmp_path: Path) -> None:
    """Each docker command of the document succeeds, from a checkout, and each container that it leaves gets healthy."""
    script = "\n".join(each.text for each in blocks_of(document) if each.kind == "sh docker")
    for name in re.findall(r"--name (\S+)", script):
        subprocess.run(["docker", "rm", name], capture_output=True)  # What tests that were killed have left, if any.
    before = containers()
    try:
        subprocess.run(["bash", "-euxo", "pipefail", "-c", script], cwd=ROOT, env=environment(tmp_path), check=True)
        for each in containers() - before:
            until(partial(is_healthy, each))
    finally:
        for each in containers() - before:
            docker("rm", "-f", each)


def containers() -> set[str]:
    """All containers, those that have ended too."""
    return set(docker("ps", "-aq").split())


def is_healthy(container: str) -> bool:
    """Whether the container's own check says so."""
    return docker("inspect", "-f", "{{.State.Health.Status}}", container).strip() == "healthy"


def docker(*words: str) -> str:
    """What docker says."""
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout
