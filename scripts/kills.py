"""Kills the service at random moments under load, starts it again, and sees that no accepted job is lost.

    scripts/stress kills [--kills 200] [--seed 1]

Clients submit jobs of every kind without a pause, each under a key with which they come again until it is accepted;
others fetch finished files all the time. At the end every accepted job has its file, right by its receipt,
and the one that is made where nothing is killed; nothing else is left, and no answer that looked whole was not.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from service import Service, running_service

SUBMITTERS, FETCHERS = 3, 2
LONGEST_LIFE_SECONDS = 1.5
END_SECONDS = 300
PAUSE_SECONDS = 0.05
ANSWER_SECONDS = 10
SLOTS, JOBS = "4", "40"
"""So few jobs may wait that those who submit do not run away from those who make."""

ROWS = [{"id": place, "price": place / 4, "note": f"Müşteri {place}"} for place in range(5000)]
NDJSON = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
JSON, LINES = {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}
KINDS: dict[str, tuple[str, dict[str, str], bytes]] = {
    "dataset, CSV": ("/export", JSON, b'{"dataset": "trades", "params": {"rows": 50000}}'),
    "dataset, long": ("/export", JSON, b'{"dataset": "trades", "params": {"rows": 300000}}'),
    "dataset, PDF": ("/export", JSON, b'{"dataset": "trades", "format": "pdf", "params": {"rows": 20000}}'),
    "rows": ("/export", JSON, json.dumps({"rows": ROWS}).encode()),
    "NDJSON": ("/export?order_by=-price", LINES, NDJSON),
}


@dataclass
class Seen:
    """What the clients have seen.

    Attributes:
        accepted: kind of each job that was accepted, by its id.
        fetched, half: whole files, and those that looked whole and were not.
        faults: answers that should not be.
        stopping: set when no more is to be submitted; over when nothing more is to be fetched.
    """

    accepted: dict[str, str] = field(default_factory=dict)
    fetched: int = 0
    half: int = 0
    faults: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)


def run_kills(kills: int, seed: int) -> list[str]:
    """Print what became of the jobs; what was broken."""
    choice, seen = random.Random(seed), Seen()  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        settings = {"SPOOL_DIR": folder, "MAX_CONCURRENT": SLOTS, "MAX_JOBS": JOBS, "LOG_LEVEL": "error"}
        with running_service(None, None, **settings, SOURCE_DATE_EPOCH="0") as service:
            expected = {kind: _digest_of(service, kind) for kind in KINDS}
            with _clients(service, expected, seen):
                for _ in range(kills):
                    time.sleep(choice.uniform(0.0, LONGEST_LIFE_SECONDS))
                    service.kill()
                    service.start()
                seen.stopping.set()
                _until_ended(service, seen)
            print(f"{kills} kills in {time.monotonic() - began:.0f} s")
            return seen.faults + _report(service, expected, seen, Path(folder))


def _digest_of(service: Service, kind: str) -> str:
    """Of what the kind's export is."""
    path, headers, body = KINDS[kind]
    return hashlib.sha256(
        service.client.post(path, headers=headers, content=body).raise_for_status().content
    ).hexdigest()


@contextmanager
def _clients(service: Service, expected: dict[str, str], seen: Seen) -> Iterator[None]:
    submitters = [threading.Thread(target=_submit, args=(service.url, place, seen)) for place in range(SUBMITTERS)]
    fetchers = [threading.Thread(target=_fetch, args=(service.url, expected, seen)) for _ in range(FETCHERS)]
    for thread in (*submitters, *fetchers):
        thread.start()
    try:
        yield
    finally:
        seen.stopping.set()
        seen.over.set()
        for thread in (*submitters, *fetchers):
            thread.join()


def _submit(url: str, place: int, seen: Seen) -> None:
    """One job after the other; the same key until it is accepted."""
    kinds = list(KINDS)
    with httpx.Client(base_url=url, timeout=ANSWER_SECONDS) as client:
        while not seen.stopping.is_set():
            kind, key = kinds[place % len(kinds)], secrets.token_hex(8)
            place += 1
            path, headers, body = KINDS[kind]
            headers = headers | {"Prefer": "respond-async", "Idempotency-Key": key}
            while not seen.over.is_set():
                try:
                    answer = client.post(path, headers=headers, content=body)
                except httpx.TransportError:
                    time.sleep(PAUSE_SECONDS)
                    continue
                if answer.status_code == 202:
                    seen.accepted[answer.headers["X-Export-Id"]] = kind
                    break
                if answer.status_code not in {409, 503}:
                    seen.faults.append(f"{kind}: {answer.status_code} {answer.text}")
                    break
                time.sleep(PAUSE_SECONDS)
            time.sleep(PAUSE_SECONDS)


def _fetch(url: str, expected: dict[str, str], seen: Seen) -> None:
    """A file that may be finished, and another one."""
    choice = random.Random()  # noqa: S311 - no secret
    with httpx.Client(base_url=url, timeout=ANSWER_SECONDS) as client:
        while not seen.over.is_set():
            accepted = list(seen.accepted.items())[-50:]
            if not accepted:
                time.sleep(PAUSE_SECONDS)
                continue
            export_id, kind = choice.choice(accepted)
            try:
                answer = client.get(f"/exports/{export_id}/content")
            except httpx.TransportError:
                time.sleep(PAUSE_SECONDS)
                continue
            if answer.status_code == 200:
                is_whole = _is_whole(answer, expected[kind])
                seen.fetched += is_whole
                seen.half += not is_whole
            elif answer.status_code != 409:
                seen.faults.append(f"content of {kind}: {answer.status_code} {answer.text}")
            time.sleep(PAUSE_SECONDS)


def _is_whole(answer: httpx.Response, expected: str) -> bool:
    """Whether a file is what its tag says, which is its digest, and what it should be."""
    digest = hashlib.sha256(answer.content).hexdigest()
    return answer.headers.get("ETag") == f'"{digest}"' and expected == digest


def _until_ended(service: Service, seen: Seen) -> None:
    deadline = time.monotonic() + END_SECONDS
    for export_id in list(seen.accepted):
        while service.client.get(f"/exports/{export_id}").json()["state"] in {"queued", "running"}:
            if time.monotonic() > deadline:
                return
            time.sleep(PAUSE_SECONDS)


def _report(service: Service, expected: dict[str, str], seen: Seen, folder: Path) -> list[str]:
    states: Counter[str] = Counter()
    again, wrong = 0, []
    for export_id, kind in seen.accepted.items():
        receipt = service.client.get(f"/exports/{export_id}").json()
        states[receipt["state"]] += 1
        again += receipt["runs"] > 1
        answer = service.client.get(f"/exports/{export_id}/content")
        if not _is_whole(answer, expected[kind]) or answer.headers["ETag"] != f'"{receipt["sha256"]}"':
            wrong.append(f"{kind} {export_id}: {receipt['state']}, {receipt['reason']}: {receipt['detail']}")
    (jobs,) = folder.glob("jobs-*")
    with closing(sqlite3.connect(jobs / "jobs.sqlite")) as database:
        known = {row[0] for row in database.execute("SELECT export_id FROM jobs")}
    twice = known - seen.accepted.keys()
    left = [path.name for name in ("bodies", "files") for path in (jobs / name).iterdir() if path.name not in known]
    left += [path.name for path in (jobs / "bodies").iterdir()]
    print(f"jobs accepted           {len(seen.accepted):8,}")
    print(f"finished                {states['completed']:8,}")
    print(f"run again               {again:8,}")
    print(f"lost                    {len(seen.accepted) - states['completed']:8,}")
    print(f"accepted unasked        {len(twice):8,}")
    print(f"files fetched, whole    {seen.fetched:8,}")
    print(f"half files served       {seen.half:8,}")
    print(f"orphans left            {len(left):8,}")
    broken = [f"not whole at the end: {each}" for each in wrong]
    broken += [f"{len(twice)} jobs that nobody was told of"] * bool(twice)
    broken += [f"{seen.half} half files"] * bool(seen.half)
    return broken + [f"left: {name}" for name in left]
