"""HTTP clients that others wrote, and what each reports of an answer that broke off."""

from __future__ import annotations

import asyncio
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

import aiohttp
import httpx
import requests

WHOLE = "whole"
TIMEOUT_SECONDS = 60
PIECE_BYTES = 65_536


@dataclass(frozen=True)
class Answer:
    """What a client saw: `report` is WHOLE, or by what exception or exit status it told that the answer broke off."""

    status: int
    export_id: str
    body: bytes
    report: str


Hook = Callable[[], object]
Client = Callable[[str, str, Hook], Answer]
"""Asks for a URL in a content coding, calls the hook once the answer's head has come, and then reads its body."""


def _report(error: Exception) -> str:
    return f"{type(error).__module__}.{type(error).__name__}"


def _answer(status: int, headers: Mapping[str, str], pieces: Iterable[bytes]) -> Answer:
    body, report = bytearray(), WHOLE
    try:
        for piece in pieces:
            body += piece
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        report = _report(error)
    return Answer(status, headers.get("X-Export-Id", ""), bytes(body), report)


def by_httpx(url: str, coding: str, hook: Hook, *, raw: bool = False) -> Answer:
    """By httpx; `raw` leaves the content coding on."""
    with httpx.stream("GET", url, headers={"Accept-Encoding": coding}, timeout=TIMEOUT_SECONDS) as answer:
        hook()
        return _answer(answer.status_code, answer.headers, answer.iter_raw() if raw else answer.iter_bytes())


def _by_requests(url: str, coding: str, hook: Hook) -> Answer:
    with requests.get(url, headers={"Accept-Encoding": coding}, timeout=TIMEOUT_SECONDS, stream=True) as answer:
        hook()
        return _answer(answer.status_code, answer.headers, answer.iter_content(PIECE_BYTES))


def _by_urllib(url: str, coding: str, hook: Hook) -> Answer:
    request = urllib.request.Request(url, headers={"Accept-Encoding": coding})  # noqa: S310 - http alone
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        hook()
        return _answer(answer.status, answer.headers, iter(lambda: answer.read(PIECE_BYTES), b""))


def _by_aiohttp(url: str, coding: str, hook: Hook) -> Answer:
    async def ask() -> Answer:
        body, report = bytearray(), WHOLE
        async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept-Encoding": coding}) as answer:
            hook()
            try:
                async for piece in answer.content.iter_any():
                    body += piece
            except Exception as error:  # noqa: BLE001
                report = _report(error)
            return Answer(answer.status, answer.headers.get("X-Export-Id", ""), bytes(body), report)

    return asyncio.run(ask())


def _by_command(command: list[str], hook: Hook) -> Answer:
    """By a program that writes the head and the body; it may wait for a line on its standard input in between."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as run:
        assert run.stdout is not None
        lines = list(takewhile(lambda line: line.strip(), run.stdout))
        hook()
        body = run.communicate(b"\n", timeout=TIMEOUT_SECONDS)[0]
    export_id = re.search(rb"x-export-id: (\S+)", b"".join(lines), re.IGNORECASE)
    report = f"exit {run.returncode}" if run.returncode else WHOLE
    return Answer(int(lines[0].split()[1]), export_id[1].decode() if export_id else "", body, report)


def by_curl(url: str, coding: str, hook: Hook, *options: str) -> Answer:
    """By curl, with more options."""
    options += () if coding == "identity" else ("--compressed",)
    return _by_command(["curl", "-sSiN", *options, url], hook)


SCRIPT = """
import {writeSync} from "node:fs";
const answer = await fetch(process.argv[1], {headers: {"Accept-Encoding": process.argv[2]}});
writeSync(1, `HTTP ${answer.status}\\nx-export-id: ${answer.headers.get("x-export-id") ?? ""}\\n\\n`);
await new Promise((resolve) => process.stdin.once("data", resolve));
try {
    for await (const piece of answer.body) writeSync(1, piece);
} catch {
    process.exit(3);
}
process.exit(0);
"""


def _by_node(url: str, coding: str, hook: Hook) -> Answer:
    return _by_command(["node", "--input-type=module", "-e", SCRIPT, url, coding], hook)


CLIENTS: dict[str, tuple[Client, str]] = {
    "curl": (by_curl, "exit 18"),
    "httpx": (by_httpx, "httpx.RemoteProtocolError"),
    "requests": (_by_requests, "requests.exceptions.ChunkedEncodingError"),
    "urllib": (_by_urllib, "http.client.IncompleteRead"),
    "aiohttp": (_by_aiohttp, "aiohttp.client_exceptions.ClientPayloadError"),
    "node": (_by_node, "exit 3"),
}
"""Each with what it reports of an answer that broke off."""
