"""What is done with each kind of block, so that a document that says it can be believed.

The words behind a block's fence are its kind: "sh", "sh docker", "json answer". KINDS has all of them; a kind that is
not there fails the tests, so that no block escapes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import httpx
import pytest
import yaml

from spark_export.api.previews import Preview
from spark_export.api.problems import Problem
from spark_export.jobs.receipt import Receipt
from spark_export.settings import PREFIX, Settings, load_settings
from spark_export.sources.catalog import read_datasets_file
from tests.acceptance.documents import ROOT, Block, block_of
from tests.integration.conftest import Server, Start, free_port

BIN = Path(sys.executable).parent
ADDRESS = "127.0.0.1:4001"
"""Of the service that the documents speak of."""

OWN_FILES = re.compile(r"(?<![\w./-])(scripts/|\.venv/bin/|docs/|rules/|grafana/)")
"""The project's own, in a command."""
ASKS = re.compile(r"(scripts/(?:seed|assert)_export\.py)")
"""Asks the service on port 4001 unless told."""
CURLRC = "fail\nsilent\nshow-error\n"
SECONDS = 120


@dataclass(frozen=True)
class Desk:
    """Where the blocks of one document run, one after the other.

    Attributes:
        folder: a temporary one.
        server: the service that stands for the one on port 4001.
        start: starts another.
    """

    folder: Path
    server: Server
    start: Start

    def here(self, text: str) -> str:
        """The text with the addresses and the files of this place."""
        text = text.replace(ADDRESS, self.server.url.removeprefix("http://"))
        return OWN_FILES.sub(rf"{ROOT}/\1", ASKS.sub(rf"\1 --url {self.server.url}", text))

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder; what it said, whatever its status."""
        variables = environment(self.folder) | {"url": self.server.url}  # as docs/runbook.md calls it
        return subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, timeout=SECONDS)


Check = Callable[[Block, Desk], None]


def environment(folder: Path) -> dict[str, str]:
    """Variables of a command: the project's commands are found, curl fails where the service refuses."""
    (folder / ".curlrc").write_text(CURLRC, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {
        "PATH": f"{BIN}:{kept['PATH']}:/usr/sbin",
        "CURL_HOME": str(folder),
        f"{PREFIX}SPOOL_DIR": str(folder),
    }


def passes(said: subprocess.CompletedProcess[str]) -> None:
    """What ran ended well; else what it said."""
    assert said.returncode == 0, said.stdout + said.stderr


def runs_in_bash(block: Block, desk: Desk) -> None:
    """Each command succeeds."""
    passes(desk.run(["bash", "-eu", "-c", desk.here(block.text)]))


def is_shell(block: Block, desk: Desk) -> None:
    """It is shell, but needs what this place has not; its kind says what."""
    passes(desk.run(["bash", "-n", "-c", block.text]))


def serves(block: Block, desk: Desk) -> None:
    """The command serves, and ends well when asked to."""
    port = free_port()
    command = ["bash", "-c", f"{desk.here(block.text).rstrip()} --port {port}"]
    with subprocess.Popen(command, cwd=desk.folder, env=environment(desk.folder), stderr=subprocess.DEVNULL) as process:
        until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == 0


def is_in_ci(block: Block, _desk: Desk) -> None:
    """The command would run these tests, or for long: CI itself runs it."""
    assert block.text in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def runs_in_python(block: Block, desk: Desk) -> None:
    """The program succeeds without a warning."""
    passes(desk.run([sys.executable, "-W", "error", "-c", desk.here(block.text)]))


def runs_in_node(block: Block, desk: Desk) -> None:
    """The program succeeds."""
    passes(desk.run(["node", "--input-type=module", "-e", desk.here(block.text)]))


PAGE = """
const {fetch: ask} = globalThis, base = "http://127.0.0.1:4001";
globalThis.fetch = (path, options) => ask(new URL(path, base), options);
globalThis.document = {createElement: () => ({click() { document.saved = this; }})};
process.on("exit", () => { if (!document.saved?.href.startsWith("blob:")) process.exitCode ||= 9; });
"""


def runs_in_a_page(block: Block, desk: Desk) -> None:
    """The program succeeds in what stands for a page of the service's origin, and saves a file."""
    passes(desk.run(["node", "--input-type=module", "-e", desk.here(PAGE + block.text)]))


def exports(block: Block, desk: Desk) -> None:
    """It is a request that is answered with a file."""
    answer = desk.server.export(json.loads(block.text))
    assert answer.status_code == 200, answer.text


def is_a_job(block: Block, desk: Desk) -> None:
    """It is a request that a service which may do so would accept as a job."""
    answer = desk.server.export(json.loads(block.text))
    assert (answer.status_code, answer.json()["field"]) == (403, "deliver.url"), answer.text


def is_an_answer(block: Block, _desk: Desk) -> None:
    """It is a receipt, a problem or a preview: each field is one of theirs."""
    fields = json.loads(block.text).keys()
    known = (Receipt.__dataclass_fields__, Problem.model_fields, Preview.model_fields)
    assert any(fields <= each.keys() for each in known)


def serves_datasets(block: Block, desk: Desk) -> None:
    """Each dataset of the file can be exported."""
    folder = book_of(desk.folder / "book", block.text)
    server = desk.start(DATASETS=str(folder / "datasets.toml"), LOG_LEVEL="warning")
    for name in tomllib.loads(block.text)["datasets"]:
        assert server.get(f"/export?dataset={name}").status_code == 200, name


def names_datasets(block: Block, desk: Desk) -> None:
    """The file can be used; what it names is on servers that are not here."""
    path = desk.folder / "elsewhere.toml"
    path.write_text(block.text, encoding="utf-8")
    assert read_datasets_file(path).datasets


def serves_keys(block: Block, desk: Desk) -> None:
    """A service with the datasets of the documents takes the file, and then serves nobody without a key."""
    folder = book_of(desk.folder / "book", block_of("datasets.md", "toml datasets").text)
    (folder / "keys.toml").write_text(block.text, encoding="utf-8")
    server = desk.start(
        DATASETS=str(folder / "datasets.toml"), API_KEYS_FILE=str(folder / "keys.toml"), LOG_LEVEL="warning"
    )
    assert server.get("/datasets").status_code == 401


def sets(block: Block, _desk: Desk) -> None:
    """Each line sets a setting to a value that can be used."""
    settings_of(dict(line.split("=", 1) for line in block.text.splitlines()))


def settings_of(variables: dict[str, str]) -> Settings:
    """The settings that a service with these variables has.

    Raises:
        SettingsError: one is no setting, or its value cannot be used.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith(PREFIX)]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        return load_settings()


def is_yaml(block: Block, _desk: Desk) -> None:
    """It parses."""
    assert list(yaml.safe_load_all(block.text))


def parses(block: Block, desk: Desk) -> None:
    """Prometheus takes the expression of each line."""
    rules = [{"record": f"line_{number}", "expr": line} for number, line in enumerate(block.text.splitlines())]
    groups = {"groups": [{"name": "documents", "rules": rules}]}
    (desk.folder / "rules.yml").write_text(json.dumps(groups), encoding="utf-8")
    passes(desk.run(["promtool", "check", "rules", "rules.yml"]))


def passes_on(block: Block, desk: Desk) -> None:
    """A real nginx with these lines passes a whole export on, and breaks a broken one."""
    with nginx_with(block, desk) as url:
        assert len(httpx.get(f"{url}/export?dataset=trades").raise_for_status().content) > 100_000


@contextmanager
def nginx_with(block: Block, desk: Desk) -> Iterator[str]:
    """The URL of an nginx with these lines."""
    port, folder = free_port(), desk.folder
    lines = re.sub(r"listen \d+", f"listen 127.0.0.1:{port}", desk.here(block.text))
    temporary = "".join(
        f"{each}_temp_path {folder}/{each}; " for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{lines} }}\n",
        encoding="utf-8",
    )
    command = shutil.which("nginx", path=environment(folder)["PATH"]) or "nginx"
    with subprocess.Popen([command, "-e", folder / "nginx.log", "-c", folder / "nginx.conf"]) as nginx:
        try:
            until(lambda: listens(port), nginx)
            yield f"http://127.0.0.1:{port}"
        finally:
            nginx.terminate()


def needs_nothing(_block: Block, _desk: Desk) -> None:
    """A picture, or what a program said."""


KINDS: dict[str, Check] = {
    "sh": runs_in_bash,
    "sh serve": serves,
    "sh ci": is_in_ci,
    "sh docker": is_shell,  # run by test_the_docker_blocks_run, where a Docker Engine is
    "sh compose": is_shell,  # with images that must be pulled
    "sh kubectl": is_shell,
    "python": runs_in_python,
    "javascript": runs_in_node,
    "javascript browser": runs_in_a_page,
    "json": exports,
    "json answer": is_an_answer,
    "json job": is_a_job,  # to a bucket that is not here
    "toml datasets": serves_datasets,
    "toml elsewhere": names_datasets,
    "toml keys": serves_keys,
    "env": sets,
    "yaml": is_yaml,
    "nginx": passes_on,
    "promql": parses,
    "text": needs_nothing,
}


def check(block: Block, desk: Desk) -> None:
    """The block is of a known kind, and holds what its kind promises."""
    assert block.kind in KINDS, f"{block}: say in its fence what it is, one of: {', '.join(KINDS)}"
    try:
        KINDS[block.kind](block, desk)
    except Exception as error:
        error.add_note(str(block))
        raise


def book_of(folder: Path, datasets: str) -> Path:
    """A folder with a datasets file and the files that docs/datasets.md names."""
    folder.mkdir()
    (folder / "datasets.toml").write_text(datasets, encoding="utf-8")
    with duckdb.connect(str(folder / "book.duckdb")) as book:
        book.execute("CREATE TABLE fills AS SELECT i AS id, i * 0.5 AS price FROM range(100) r(i)")
        book.execute("CREATE TABLE flights AS SELECT 'UA' AS carrier, i AS flight FROM range(10) r(i)")
        book.execute(f"COPY flights TO '{folder}/flights.parquet'")
    return folder


def until(true: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until it is true; fail when the process ends before, or after a long time."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert process is None or process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Whether the URL is answered with 200."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def listens(port: int) -> bool:
    """Whether somebody listens on the port of loopback."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
