"""What a document says of itself: the information dictionary, the XMP packet and the output intent.

PDF/A-2b (ISO 19005-2 6.2.3, 6.6) and PDF/UA-1 (ISO 14289-1 5, 7.1) ask for them beside the pages.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from html import escape
from importlib import resources

from spark_export.writers.pdf.objects import ObjectFile, date_string, reference, text_string

PROGRAM = "spark-export"

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 2.2 forbids even as references, lone surrogates among them."""

PROFILE = "srgb.icc"
"""sRGB as an ICC profile of version 2.1, made by hand: IEC 61966-2.1's primaries adapted to D50, and its curve in 256
steps, which is exact for samples of 8 bits. The header's date is fixed, its profile ID empty."""

CONDITION = "sRGB IEC61966-2.1"

UA_SCHEMA = """<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/" \
xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
<pdfaSchema:schema>PDF/UA Universal Accessibility Schema</pdfaSchema:schema>
<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>
<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">
<pdfaProperty:name>part</pdfaProperty:name>
<pdfaProperty:valueType>Integer</pdfaProperty:valueType>
<pdfaProperty:category>internal</pdfaProperty:category>
<pdfaProperty:description>Part of ISO 14289 to which the document conforms</pdfaProperty:description>
</rdf:li></rdf:Seq></pdfaSchema:property>
</rdf:li></rdf:Bag></pdfaExtension:schemas>
</rdf:Description>
"""
"""PDF/A wants every schema described that it does not know itself (ISO 19005-2 6.6.2.3)."""

PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:pdf="http://ns.adobe.com/pdf/1.3/" \
xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/" \
xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/">
{properties}
</rdf:Description>
{schemas}</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True)
class About:
    """What the document says of itself; empty texts are left out. PDF/UA-1 7.1 wants a title.

    Attributes:
        language: of the document, a tag of BCP 47.
        made_at: with its zone, or readers cannot tell when that was.
    """

    title: str = ""
    author: str = ""
    subject: str = ""
    keywords: str = ""
    language: str = "en"
    made_at: datetime | None = None


def information(about: About) -> bytes:
    """The document information dictionary (ISO 32000-1 14.3.3), which says what `xmp` says."""
    texts = {
        b"Producer": PROGRAM,
        b"Creator": PROGRAM,
        b"Title": about.title,
        b"Author": about.author,
        b"Subject": about.subject,
        b"Keywords": about.keywords,
    }
    entries = b"".join(b"/%s%s" % (name, text_string(_clean(text))) for name, text in texts.items() if text)
    if about.made_at:
        entries += b"/CreationDate%s/ModDate%s" % ((date_string(about.made_at),) * 2)
    return b"<<%s>>" % entries


def xmp(about: About, accessible: bool) -> bytes:
    """The XMP packet (ISO 16684-1) of a PDF/A-2b file, and of a PDF/UA-1 file where `accessible`."""
    properties = "\n".join(_properties(about, accessible))
    return PACKET.format(properties=properties, schemas=UA_SCHEMA if accessible else "").encode("utf-8")


def output_intent_objects(file: ObjectFile, number: int) -> Iterator[bytes]:
    """The output intent (ISO 32000-1 14.11.5) with the number reserved for it, by which device colours are sRGB."""
    profile = file.reserve()
    yield file.add_stream(profile, _profile(), b"/N 3")
    condition = text_string(CONDITION)
    yield file.add(
        number,
        b"<</Type/OutputIntent/S/GTS_PDFA1/OutputConditionIdentifier%s/Info%s/DestOutputProfile %s>>"
        % (condition, condition, reference(profile)),
    )


def _properties(about: About, accessible: bool) -> Iterator[str]:
    yield from _property("pdfaid:part", "2")
    yield from _property("pdfaid:conformance", "B")
    if accessible:
        yield from _property("pdfuaid:part", "1")
    yield from _property("pdf:Producer", PROGRAM)
    yield from _property("xmp:CreatorTool", PROGRAM)
    yield from _property("dc:title", about.title, "Alt")
    yield from _property("dc:creator", about.author, "Seq")
    yield from _property("dc:description", about.subject, "Alt")
    yield from _property("pdf:Keywords", about.keywords)
    yield from _property("dc:language", about.language, "Bag")
    if about.made_at:
        yield from _property("xmp:CreateDate", _date(about.made_at))
        yield from _property("xmp:ModifyDate", _date(about.made_at))


def _property(name: str, text: str, array: str = "") -> Iterator[str]:
    """A property where there is something to say, as the only item of an array where its type is one."""
    if not text:
        return
    value = escape(_clean(text), quote=False).replace("\r", "&#13;")  # a parser would read a bare CR as a line feed
    if array:
        language = ' xml:lang="x-default"' if array == "Alt" else ""
        value = f"<rdf:{array}><rdf:li{language}>{value}</rdf:li></rdf:{array}>"
    yield f"<{name}>{value}</{name}>"


def _clean(text: str) -> str:
    """The text as XML can carry it; the information dictionary says the same."""
    return NOT_XML.sub("\ufffd", text)


def _date(moment: datetime) -> str:
    """The date of `date_string` as XMP writes it, its distance from UTC in whole minutes as well."""
    stamp = moment.replace(tzinfo=None).isoformat(timespec="seconds")
    offset = moment.utcoffset()
    if offset is None:
        return stamp
    minutes = round(offset.total_seconds() / 60)
    return "%s%s%02d:%02d" % (stamp, "-" if minutes < 0 else "+", *divmod(abs(minutes), 60))  # noqa: UP031


@cache
def _profile() -> bytes:
    """The profile, compressed."""
    return zlib.compress(resources.files("spark_export.writers.pdf").joinpath(PROFILE).read_bytes(), 9)
