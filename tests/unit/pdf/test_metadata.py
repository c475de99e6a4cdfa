"""The information dictionary, the XMP packet and the output intent, as pikepdf, an XML parser and lcms read them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources
from xml.etree import ElementTree as ET

import numpy as np
import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from spark_export.writers.pdf.metadata import PROFILE, About, information, output_intent_objects, xmp
from spark_export.writers.pdf.objects import ObjectFile, reference

MADE_AT = datetime(2026, 1, 5, 14, 3, 9, tzinfo=timezone(timedelta(hours=-3.5)))
EVERYTHING = About('İş "A" <b> & c', "Ada & co.", "Emoji 😀", "one, two", "tr", MADE_AT)

NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "pdf": "http://ns.adobe.com/pdf/1.3/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "pdfaSchema": "http://www.aiim.org/pdfa/ns/schema#",
    "pdfaProperty": "http://www.aiim.org/pdfa/ns/property#",
}
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def said(about: About) -> dict[str, str]:
    """The information dictionary as qpdf parses it."""
    entries = pikepdf.Object.parse(information(about))
    assert isinstance(entries, pikepdf.Dictionary)
    return {key: str(value) for key, value in entries.items()}


def packet(about: About, *, accessible: bool = False) -> ET.Element:
    """The packet as expat parses it."""
    return ET.fromstring(xmp(about, accessible))  # noqa: S314


def value(about: About, path: str) -> str | None:
    """The text at a path in the packet."""
    return packet(about).findtext(f".//rdf:Description/{path}", namespaces=NAMES)


def made(about: About, *, accessible: bool = False) -> bytes:
    """A file of one empty page that says all this."""
    file = ObjectFile()
    head = file.start()
    catalog, info, metadata, intent, root, page = (file.reserve() for _ in range(6))
    said = xmp(about, accessible)
    objects = [
        file.add(metadata, b"<</Type/Metadata/Subtype/XML/Length %d>>stream\n%s\nendstream" % (len(said), said)),
        *output_intent_objects(file, intent),
        file.add(page, b"<</Type/Page/Parent %s/MediaBox[0 0 9 9]/Resources<<>>>>" % reference(root)),
        file.add(root, b"<</Type/Pages/Count 1/Kids[%s]>>" % reference(page)),
        file.add(
            catalog,
            b"<</Type/Catalog/Pages %s/Metadata %s/OutputIntents[%s]>>"
            % (reference(root), reference(metadata), reference(intent)),
        ),
        file.add(info, information(about)),
    ]
    return b"".join([head, *objects, *file.finish(catalog, info)])


@contextmanager
def opened(about: About, *, accessible: bool = False) -> Iterator[pikepdf.Pdf]:
    """That file, in which qpdf finds nothing wrong."""
    with pikepdf.open(io.BytesIO(made(about, accessible=accessible))) as pdf:
        assert pdf.check_pdf_syntax() == []
        yield pdf


def test_information() -> None:
    """The dictionary names the program and whatever there is to say."""
    assert said(EVERYTHING) == {
        "/Producer": "spark-export",
        "/Creator": "spark-export",
        "/Title": 'İş "A" <b> & c',
        "/Author": "Ada & co.",
        "/Subject": "Emoji 😀",
        "/Keywords": "one, two",
        "/CreationDate": "D:20260105140309-03'30'",
        "/ModDate": "D:20260105140309-03'30'",
    }


def test_empty_information() -> None:
    """Empty texts and an unknown time are left out of the dictionary."""
    assert set(said(About())) == {"/Producer", "/Creator"}


def test_packet_frame() -> None:
    """The packet begins and ends as XMP readers search for it, without the attributes that PDF/A forbids."""
    written = xmp(About(), accessible=False)
    assert written.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n')
    assert written.endswith(b'<?xpacket end="r"?>')


def test_foreign_reader() -> None:
    """Pikepdf reads every property of the packet in the type that XMP gives it."""
    with opened(EVERYTHING, accessible=True) as pdf, pdf.open_metadata() as read:
        assert read.pdfa_status == "2B"
        assert dict(read.items()) == {
            "{http://www.aiim.org/pdfa/ns/id/}part": "2",
            "{http://www.aiim.org/pdfa/ns/id/}conformance": "B",
            "{http://www.aiim.org/pdfua/ns/id/}part": "1",
            "{http://ns.adobe.com/pdf/1.3/}Producer": "spark-export",
            "{http://ns.adobe.com/xap/1.0/}CreatorTool": "spark-export",
            "{http://purl.org/dc/elements/1.1/}title": 'İş "A" <b> & c',
            "{http://purl.org/dc/elements/1.1/}creator": ["Ada & co."],
            "{http://purl.org/dc/elements/1.1/}description": "Emoji 😀",
            "{http://ns.adobe.com/pdf/1.3/}Keywords": "one, two",
            "{http://purl.org/dc/elements/1.1/}language": {"tr"},
            "{http://ns.adobe.com/xap/1.0/}CreateDate": "2026-01-05T14:03:09-03:30",
            "{http://ns.adobe.com/xap/1.0/}ModifyDate": "2026-01-05T14:03:09-03:30",
            "{http://www.aiim.org/pdfa/ns/extension/}schemas": read["pdfaExtension:schemas"],
        }


def test_empty_packet() -> None:
    """Empty texts and an unknown time are left out of the packet, and no schema is described that is not used."""
    with opened(About(language="")) as pdf, pdf.open_metadata() as read:
        names = {key.rpartition("}")[2] for key in read}
    assert names == {"part", "conformance", "Producer", "CreatorTool"}


def test_default_language() -> None:
    """Title and subject have one alternative, for readers of any language."""
    for name in ("title", "description"):
        items = packet(EVERYTHING).findall(f".//dc:{name}/rdf:Alt/rdf:li", NAMES)
        assert [item.attrib for item in items] == [{XML_LANG: "x-default"}]


def test_schema_of_accessibility() -> None:
    """An accessible file describes the schema of its claim, which PDF/A does not know."""
    (schema,) = packet(About(), accessible=True).findall(".//rdf:li[pdfaSchema:prefix]", NAMES)
    assert schema.findtext("pdfaSchema:prefix", namespaces=NAMES) == "pdfuaid"
    assert schema.findtext("pdfaSchema:namespaceURI", namespaces=NAMES) == "http://www.aiim.org/pdfua/ns/id/"
    assert schema.findtext(".//pdfaProperty:name", namespaces=NAMES) == "part"


@given(st.text(st.characters(), min_size=1))
def test_dictionary_and_packet_agree(text: str) -> None:
    """Any text, lone surrogates and control characters among them, is the same in dictionary and packet."""
    about = About(text, text, text, text)
    information_says = said(about)
    assert information_says["/Title"] == value(about, "dc:title/rdf:Alt/rdf:li")
    assert information_says["/Author"] == value(about, "dc:creator/rdf:Seq/rdf:li")
    assert information_says["/Subject"] == value(about, "dc:description/rdf:Alt/rdf:li")
    assert information_says["/Keywords"] == value(about, "pdf:Keywords")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a\x00b\x1b", "a\ufffdb\ufffd"),
        ("\ud800x\udfff", "\ufffdx\ufffd"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
        ("a\r\nb\tc\r", "a\r\nb\tc\r"),
        ("]]> {properties} &amp;", "]]> {properties} &amp;"),
        ("\U0001fffe\x7f\x85", "\U0001fffe\x7f\x85"),
    ],
)
def test_odd_characters(text: str, read: str) -> None:
    """What XML forbids becomes U+FFFD in both places; all else stays."""
    about = About(title=text)
    assert (said(about)["/Title"], value(about, "dc:title/rdf:Alt/rdf:li")) == (read, read)


@pytest.mark.parametrize(
    ("moment", "in_information", "in_packet"),
    [
        (datetime(2026, 1, 5, 14, 3, 9, 999_999, tzinfo=UTC), "D:20260105140309+00'00'", "2026-01-05T14:03:09+00:00"),
        (MADE_AT, "D:20260105140309-03'30'", "2026-01-05T14:03:09-03:30"),
        (MADE_AT.replace(tzinfo=None), "D:20260105140309", "2026-01-05T14:03:09"),
        (
            MADE_AT.replace(tzinfo=timezone(timedelta(hours=1, minutes=56, seconds=56))),
            "D:20260105140309+01'57'",
            "2026-01-05T14:03:09+01:57",
        ),
    ],
)
def test_dates_agree(moment: datetime, in_information: str, in_packet: str) -> None:
    """Dictionary and packet tell the same second, at the same whole minutes from UTC."""
    about = About(made_at=moment)
    assert (said(about)["/CreationDate"], said(about)["/ModDate"]) == (in_information, in_information)
    assert (value(about, "xmp:CreateDate"), value(about, "xmp:ModifyDate")) == (in_packet, in_packet)


def test_output_intent() -> None:
    """The intent names sRGB and carries a profile of three colours, the file's bytes."""
    with opened(About()) as pdf:
        (intent,) = pdf.Root.OutputIntents
        assert (str(intent.Type), str(intent.S)) == ("/OutputIntent", "/GTS_PDFA1")
        assert str(intent.OutputConditionIdentifier) == "sRGB IEC61966-2.1"
        assert intent.DestOutputProfile.N == 3
        assert intent.DestOutputProfile.read_bytes() == profile()


def profile() -> bytes:
    """The stored profile."""
    return resources.files("spark_export.writers.pdf").joinpath(PROFILE).read_bytes()


def test_profile_header() -> None:
    """The profile is small, states its own size, is of version 2, for displays, of RGB and of a fixed date."""
    read = ImageCms.getOpenProfile(io.BytesIO(profile())).profile
    assert len(profile()) == int.from_bytes(profile()[:4], "big") < 1000
    assert (read.version, read.device_class, read.xcolor_space.strip()) == (2.1, "mntr", "RGB")
    assert read.creation_date == datetime(2026, 1, 1)  # noqa: DTZ001  a profile's date has no zone
    assert profile()[68:80].hex() == "0000f6d6000100000000d32d"  # D50, the only illuminant allowed


def test_profile_is_srgb() -> None:
    """To and from lcms's own sRGB, no sample of 8 bits changes by more than one."""
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    ours, theirs = ImageCms.getOpenProfile(io.BytesIO(profile())), ImageCms.createProfile("sRGB")
    for source, target in ((ours, theirs), (theirs, ours)):
        shown = ImageCms.profileToProfile(Image.fromarray(colours), source, target)
        assert shown is not None
        assert np.abs(np.asarray(shown).astype(int) - colours).max() <= 1
