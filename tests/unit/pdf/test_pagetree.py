"""The page tree, as it is written forward."""

from __future__ import annotations

import pytest

from spark_export.writers.pdf.objects import ObjectFile
from spark_export.writers.pdf.pagetree import NODE_KIDS, PageTree


@pytest.mark.parametrize("pages", [1, 64, 65, 128, 4096, 4097, 4160, 4161, 10000])
def test_page_tree(pages: int) -> None:
    """Every page is in the tree once, in order, under the parent it was told, and all counts are right."""
    file = ObjectFile()
    file.start()
    tree = PageTree(file)
    told = {}
    written = []
    for _ in range(pages):
        page = file.reserve()
        told[page], nodes = tree.add(page)
        written.append(nodes)
    root, nodes = tree.finish(b"/Rotate 0")
    written.append(nodes)
    kids, counts, parents = _read_nodes(b"".join(written))

    def walk(number: int) -> list[int]:
        if number not in kids:
            return [number]
        found = [page for kid in kids[number] for page in walk(kid)]
        assert counts[number] == len(found)
        assert len(kids[number]) <= NODE_KIDS
        return found

    assert walk(root) == list(told)
    assert tree.pages == counts[root] == pages
    assert root not in parents
    for node, inside in kids.items():
        assert all(told[kid] == node if kid in told else parents[kid] == node for kid in inside)


def test_nodes_leave_memory() -> None:
    """A full node is written as soon as another page comes, not at the end."""
    file = ObjectFile()
    file.start()
    tree = PageTree(file)
    written = [tree.add(file.reserve())[1] for _ in range(3 * NODE_KIDS)]
    assert [place for place, nodes in enumerate(written) if nodes] == [NODE_KIDS, 2 * NODE_KIDS]


def test_root_entries() -> None:
    """What all pages inherit stands in the root alone."""
    file = ObjectFile()
    file.start()
    tree = PageTree(file)
    nodes = b"".join(tree.add(file.reserve())[1] for _ in range(NODE_KIDS + 1))
    root, last = tree.finish(b"/MediaBox[0 0 9 9]")
    found = [node for node in (nodes + last).split(b"endobj\n") if b"/MediaBox[0 0 9 9]" in node]
    assert [int(node.split()[0]) for node in found] == [root]


def _read_nodes(data: bytes) -> tuple[dict[int, list[int]], dict[int, int], dict[int, int]]:
    kids, counts, parents = {}, {}, {}
    for node in data.split(b"endobj\n")[:-1]:
        number = int(node.split()[0])
        kids[number] = [int(kid) for kid in node.split(b"Kids[")[1].split(b"]")[0].split(b" ")[::3]]
        counts[number] = int(node.split(b"/Count ")[1].split(b"/")[0])
        if b"/Parent " in node:
            parents[number] = int(node.split(b"/Parent ")[1].split(b" ")[0])
    return kids, counts, parents
