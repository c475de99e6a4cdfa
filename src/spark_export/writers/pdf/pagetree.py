"""The page tree (ISO 32000-1 7.7.3), written forward and balanced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from spark_export.writers.pdf.objects import ObjectFile, reference

NODE_KIDS = 64
"""Kids of a page tree node: one object more for 64 pages, four levels for 16 million."""


@dataclass
class _Node:
    number: int
    kids: list[int] = field(default_factory=list)
    pages: int = 0


@dataclass
class PageTree:
    """A balanced page tree (7.7.3.2): a node leaves memory when it is full and another kid comes."""

    file: ObjectFile
    _levels: list[_Node] = field(default_factory=list, init=False)

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return sum(node.pages for node in self._levels)

    def add(self, page: int) -> tuple[int, bytes]:
        """The parent of a new page, and the nodes that are full with it."""
        done = b"".join(self._add(0, page, 1))
        return self._levels[0].number, done

    def finish(self, entries: bytes) -> tuple[int, bytes]:
        """The root, and the nodes left with it; `entries` are what every page inherits (7.7.3.4)."""
        done: list[bytes] = []
        level = 0
        while level < len(self._levels) - 1:  # closing one may open another above
            done.extend(self._close(level))
            level += 1
        root = self._levels[-1]
        done.append(self.file.add(root.number, _node_body(root, entries)))
        return root.number, b"".join(done)

    def _add(self, level: int, kid: int, pages: int) -> Iterable[bytes]:
        if level == len(self._levels):
            self._levels.append(_Node(self.file.reserve()))
        done: list[bytes] = []
        if len(self._levels[level].kids) == NODE_KIDS:
            done.extend(self._close(level))
            self._levels[level] = _Node(self.file.reserve())
        node = self._levels[level]
        node.kids.append(kid)
        node.pages += pages
        return done

    def _close(self, level: int) -> Iterable[bytes]:
        """Hang a node under the next level, which then has at least one kid, and write it."""
        node = self._levels[level]
        yield from self._add(level + 1, node.number, node.pages)
        yield self.file.add(node.number, _node_body(node, b"/Parent " + reference(self._levels[level + 1].number)))
        node.pages = 0


def _node_body(node: _Node, entries: bytes) -> bytes:
    kids = b" ".join(map(reference, node.kids))
    return b"<</Type/Pages/Count %d/Kids[%s]%s>>" % (node.pages, kids, entries)
