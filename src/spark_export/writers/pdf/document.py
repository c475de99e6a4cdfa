"""One document as it grows: page contents become objects, and the rest comes at the end."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from spark_export.writers.pdf.embedding import code_map_object, font_objects
from spark_export.writers.pdf.logo import Logo, logo_objects
from spark_export.writers.pdf.metadata import About, information, output_intent_objects, xmp
from spark_export.writers.pdf.objects import Compress, ObjectFile, reference, text_string
from spark_export.writers.pdf.outline import LEAST_PAGES, outline_objects
from spark_export.writers.pdf.pages import Page, Pages
from spark_export.writers.pdf.pagetree import PageTree
from spark_export.writers.pdf.structure import Structure
from spark_export.writers.pdf.titleblock import LOGO_NAME
from spark_export.writers.pdf.words import Words


class Document:
    """Writes the objects of one document, in order; what it returns are the file's bytes.

    Args:
        pages: where the contents come from.
        about: what the document says of itself.
        logo: shown in the title block.
        accessible: whether it is tagged.
        compress: makes the data of its own streams.
    """

    def __init__(self, pages: Pages, about: About, logo: Logo | None, *, accessible: bool, compress: Compress) -> None:
        self._pages = pages
        self._about = about
        self._logo = logo
        self._file = ObjectFile(compress)
        self._tree = PageTree(self._file)
        self._resources = self._file.reserve()
        self._forms = {name: self._file.reserve() for name in pages.sheet.form_names()}
        self._numbers = array("Q")
        self._first_rows = array("Q")
        layout = pages.layout
        self._structure = Structure(self._file, layout.bands, len(pages.columns)) if accessible else None

    def start(self) -> bytes:
        """The file's first bytes."""
        return self._file.start()

    def add(self, pages: Sequence[tuple[Page, bytes]]) -> bytes:
        """Pages with their compressed contents."""
        parts: list[bytes] = []
        for page, stream in pages:
            self._add_page(page, stream, parts)
        return b"".join(parts)

    def _add_page(self, page: Page, stream: bytes, parts: list[bytes]) -> None:
        file = self._file
        content, number = file.reserve(), file.reserve()
        self._numbers.append(number)
        self._first_rows.append(page.first_row)
        parts.append(file.add_stream(content, stream))
        parent, nodes = self._tree.add(number)
        parts.append(nodes)
        tagged = b""
        if self._structure is not None and page.tags is not None:
            key, elements = self._structure.add_page(number, page.tags)
            parts.append(elements)
            tagged = b"/StructParents %d" % key
        # PDF/A lets no page inherit its resources (ISO 19005-2 6.2.2).
        entries = (parent, self._resources, content, tagged)
        parts.append(file.add(number, b"<</Type/Page/Parent %d 0 R/Resources %d 0 R/Contents %d 0 R%s>>" % entries))

    def finish(self, words: Words) -> Iterator[bytes]:
        """Everything after the last page."""
        file = self._file
        forms = list(self._pages.sheet.forms(self._pages.count))  # sets their text, so that the fonts are known
        subsets = self._pages.typefaces.subsets
        fonts = {subset.name: file.reserve() for subset in subsets}
        code_map = file.reserve()
        yield code_map_object(file, code_map)
        for subset in subsets:
            yield from font_objects(file, fonts[subset.name], code_map, subset)
        images = {}
        if self._logo is not None:
            images[LOGO_NAME] = file.reserve()
            yield logo_objects(file, images[LOGO_NAME], self._logo)
        font_resources = b"/Font" + _dictionary(fonts)
        for form in forms:
            resources = font_resources + b"/XObject" + _dictionary(images)
            entries = b"/Type/XObject/Subtype/Form/BBox[%s]/Resources<<%s>>" % (form.box, resources)
            yield file.add_stream(self._forms[form.name], file.compress(form.content), entries)
        yield file.add(self._resources, b"<<%s/XObject%s>>" % (font_resources, _dictionary(self._forms | images)))
        root, nodes = self._tree.finish(b"/MediaBox[%s]" % self._pages.sheet.box)
        yield nodes
        yield from self._catalog(root, words)

    def _catalog(self, root: int, words: Words) -> Iterator[bytes]:
        """The catalog with what hangs from it, and the file's end."""
        file, about = self._file, self._about
        entries = b"/Lang" + text_string(about.language)
        if about.title:
            entries += b"/ViewerPreferences<</DisplayDocTitle true>>"
        if len(self._numbers) > LEAST_PAGES:
            outline = file.reserve()
            bands = len(self._pages.layout.bands)
            yield from outline_objects(
                file, outline, self._numbers, self._first_rows, self._pages.rows, words, at_once=bands
            )
            entries += b"/Outlines %s" % reference(outline)
        if self._structure is not None:
            yield from self._structure.finish()
            entries += b"/MarkInfo<</Marked true>>/StructTreeRoot %s" % reference(self._structure.root)
        intent, metadata = file.reserve(), file.reserve()
        yield from output_intent_objects(file, intent)
        packet = xmp(about, accessible=self._structure is not None)
        # Not compressed, so that a search that knows nothing of PDF finds it (14.3.2).
        yield file.add(
            metadata,
            b"<</Type/Metadata/Subtype/XML/Length %d>>stream\n%s\nendstream" % (len(packet), packet),
        )
        entries += b"/OutputIntents[%s]/Metadata %s" % (reference(intent), reference(metadata))
        catalog, info = file.reserve(), file.reserve()
        yield file.add(catalog, b"<</Type/Catalog/Pages %s%s>>" % (reference(root), entries))
        yield file.add(info, information(about))
        yield from file.finish(catalog, info)


def _dictionary(numbers: dict[bytes, int]) -> bytes:
    return b"<<%s>>" % b"".join(b"%s %s" % (name, reference(number)) for name, number in numbers.items())
