"""PDFs over a socket: what the service adds to the pages, and what it says of them."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import time
from importlib import resources
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from PIL import Image

from .conftest import Server, Start

EPOCH = 1767621780
"""2026-01-05 14:03 UTC."""


def text_of(pdf: bytes, folder: Path) -> str:
    """What poppler reads in a file with which qpdf is content."""
    path = folder / "export.pdf"
    path.write_bytes(pdf)
    subprocess.run(["qpdf", "--check", path], check=True, capture_output=True)
    return subprocess.run(["pdftotext", "-layout", path, "-"], check=True, capture_output=True).stdout.decode()


def fonts_of(pdf: bytes) -> set[str]:
    """Names of the fonts that a file holds, without the tags of subsets."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        found = [each for each in document.objects if isinstance(each, pikepdf.Dictionary) and "/FontName" in each]
        return {str(each.FontName).partition("+")[2] for each in found}


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"dataset": "above", "params": {"least": 48}}, "least: 48"),
        ({"where": [{"column": "price", "op": "gt", "value": 40.5}]}, "price > 40.5"),
        ({"where": [{"column": "id", "op": "between", "value": [3, 5]}]}, "id 3 to 5"),
        ({"where": [{"column": "note", "op": "like", "value": "%1%"}], "limit": 5}, "note like %1% · limit 5"),
        ({"where": [{"column": "id", "op": "in", "value": [1, 2]}, {"column": "note", "op": "not_null"}]},
         "id in 1, 2 · note is there"),
        ({"limit": 1000}, "limit 1,000"),
    ],
    ids=str,
)  # fmt: skip
def test_filters_are_in_the_title_block(server: Server, tmp_path: Path, asked: dict[str, Any], shown: str) -> None:
    """What the rows were chosen by stands above them, beside the time."""
    answer = server.export({"dataset": "book", "format": "pdf"} | asked)
    assert answer.status_code == 200
    text = text_of(answer.content, tmp_path)
    assert re.search(rf"(?m)^{re.escape(shown)} +\d{{4}}-\d\d-\d\d \d\d:\d\d UTC$", text)


def test_a_pdf_says_when_it_was_made(server: Server, tmp_path: Path) -> None:
    """By the clock, in the zone of the request, on the page and in the document's dates."""
    before = time.time() // 60 * 60
    answer = server.export({"dataset": "book", "format": "pdf", "limit": 1, "timezone": "Asia/Tokyo"})
    stated = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d) JST", text_of(answer.content, tmp_path))
    assert stated
    made = time.mktime(time.strptime(stated[1], "%Y-%m-%d %H:%M")) - time.timezone - 9 * 3600
    assert before <= made <= time.time()
    with pikepdf.open(io.BytesIO(answer.content)) as document:
        assert str(document.docinfo.CreationDate).endswith("+09'00'")


def test_source_date_epoch_makes_the_same_bytes(start: Start, data: Path, tmp_path: Path) -> None:
    """With it two services make the same file, which states that time."""
    asked = {"dataset": "book", "format": "pdf", "pdf": {"accessible": True, "totals": ["price"]}}
    bodies = set()
    for _ in range(2):
        server = start(DATASETS=str(data / "datasets.toml"), SOURCE_DATE_EPOCH=str(EPOCH))
        answer = server.export(asked)
        receipt = server.get("/exports/" + answer.headers["x-export-id"]).json()
        assert receipt["sha256"] == hashlib.sha256(answer.content).hexdigest()
        bodies.add(answer.content)
    (body,) = bodies
    assert "2026-01-05 14:03 UTC" in text_of(body, tmp_path)
    with pikepdf.open(io.BytesIO(body)) as document:
        assert str(document.docinfo.CreationDate) == "D:20260105140300+00'00'"


def test_a_receipt_names_the_characters_that_no_font_has(server: Server) -> None:
    """The receipt says how many characters show as boxes, and which."""
    rows = [{"a": "漢字"}, {"a": "漢 ok"}, {"a": "ığüş"}]
    answer = server.export({"rows": rows, "format": "pdf"})
    receipt = server.get("/exports/" + answer.headers["x-export-id"]).json()
    assert receipt["state"] == "completed"
    assert receipt["replaced_characters"] == 3
    assert receipt["lacking_characters"] == {"U+6F22": 2, "U+5B57": 1}
    assert (receipt["rows"], receipt["bytes"]) == (3, len(answer.content))
    plain = server.export({"rows": [{"a": "x"}], "format": "pdf"})
    receipt = server.get("/exports/" + plain.headers["x-export-id"]).json()
    assert (receipt["replaced_characters"], receipt["lacking_characters"]) == (0, {})


def test_the_operators_font_and_logo_are_used(start: Start, tmp_path: Path) -> None:
    """A font of SPARK_EXPORT_FONTS shows what it has, and SPARK_EXPORT_LOGO stands on the first page."""
    hebrew = resources.files("spark_export.fonts").joinpath("NotoSansHebrew-Regular.ttf").read_bytes()
    renamed = hebrew.replace("NotoSansHebrew".encode("utf-16-be"), "OwnSansHebrews".encode("utf-16-be"))
    (tmp_path / "own.ttf").write_bytes(renamed)
    Image.new("RGB", (30, 20), (200, 30, 30)).save(tmp_path / "logo.png")
    server = start(FONTS=f"{tmp_path / 'own.ttf'},", LOGO=str(tmp_path / "logo.png"))
    body = server.export({"rows": [{"a": "שלום"}], "format": "pdf"}).content
    assert "שלום" in re.sub("[\u202a-\u202e]", "", text_of(body, tmp_path))
    assert "OwnSansHebrews-Regular" in fonts_of(body)
    images = subprocess.run(["pdfimages", "-list", tmp_path / "export.pdf"], check=True, capture_output=True).stdout
    assert [line.split()[2:5] for line in images.splitlines()[2:]] == [[b"image", b"30", b"20"]]


def test_options_reach_the_writer(server: Server, tmp_path: Path) -> None:
    """Options of the request are on the pages: size, title, totals, words, wrapped text, tags."""
    rows = [{"name": "word " * 60 + "end", "n": 1.25}, {"name": "x", "n": 2.5}]
    options = {
        "title": "Başlık", "subtitle": "alt", "page_size": "100x150mm", "overflow": "wrap", "totals": ["n"],
        "language": "tr", "accessible": True, "author": "A", "theme": {"accent": "#ff0000", "font_size": 7},
    }  # fmt: skip
    body = server.export({"rows": rows, "format": "pdf", "pdf": options}).content
    text = text_of(body, tmp_path)
    assert re.search(r"Toplam +3\.75", text)
    assert "Sayfa 1 / 1" in text
    assert (text.count("word"), text.count("end")) == (60, 1)
    with pikepdf.open(io.BytesIO(body)) as document:
        assert [float(each) for each in document.pages[0].mediabox] == pytest.approx([0, 0, 283.46, 425.2], abs=0.01)
        assert (str(document.Root.Lang), str(document.docinfo.Author)) == ("tr", "A")
        assert bool(document.Root.MarkInfo.Marked)


def test_a_pdf_of_a_source_that_fails_later_is_none(server: Server, tmp_path: Path) -> None:
    """What came before the failure is a file that readers refuse, and the receipt says failed."""
    path, head = tmp_path / "broken.pdf", tmp_path / "head"
    url = server.url + "/export?dataset=late&format=pdf"
    run = subprocess.run(["curl", "-sS", "-D", head, "-o", path, url], capture_output=True)
    assert run.returncode == 18
    assert path.read_bytes().startswith(b"%PDF-1.7")
    assert subprocess.run(["qpdf", "--check", path], capture_output=True).returncode == 2
    with pytest.raises(pikepdf.PdfError):
        pikepdf.open(path)
    (export_id,) = re.findall(r"(?mi)^x-export-id: (\S+)", head.read_text(encoding="ascii"))
    assert server.get(f"/exports/{export_id}").json()["state"] == "failed"
