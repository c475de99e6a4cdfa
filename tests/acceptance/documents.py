"""The fenced blocks of README.md and docs/."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        document: the file that it is in.
        line: of its fence, from 1.
        kind: the words behind the fence.
        text: what stands between the fences.
    """

    document: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line} {self.kind}"


def blocks_of(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(document, text.count("\n", 0, found.start()) + 1, found[1].strip(), found[2])
        for found in FENCE.finditer(text)
    ]


def block_of(document: str, kind: str, saying: str = "") -> Block:
    """The first block of that kind in docs/ that says it."""
    found = blocks_of(ROOT / "docs" / document)
    return next(each for each in found if each.kind == kind and saying in each.text)
