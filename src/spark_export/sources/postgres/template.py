"""The operator's SQL with its `$parameters`. Pure.

Read as PostgreSQL's lexer reads it (4.1): a `$name` within a string, a quoted name or a comment is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*)
    | (?P<comment>/\*)
    | (?P<string>[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<dollars>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    | (?P<place>\$\d+)
    | \$(?P<name>[A-Za-z][A-Za-z0-9_]*)
    | (?P<word>\w[\w$]*)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.DOTALL | re.VERBOSE,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Template:
    """One statement, cut at its parameters.

    Attributes:
        texts: one more than names.
        names: of the parameters, as they come.
    """

    texts: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, sql: str) -> Template:
        """The statement, without the semicolon that may end it.

        Raises:
            ValueError: there are several, or none, or a parameter without a name.
        """
        texts, names, ended, empty = [""], [], False, True
        place = 0
        while place < len(sql):
            token = TOKEN.match(sql, place)
            assert token is not None  # noqa: S101 - `other` is any character
            place = _comment_end(sql, token.end()) if token["comment"] else token.end()
            if token["space"] or token["comment"]:
                texts[-1] += sql[token.start() : place]
                continue
            if ended or token["place"]:
                raise ValueError("parameters have names, $name" if not ended else "must be one SELECT statement")
            ended, empty = token["end"] is not None, empty and token["end"] is not None
            if token["name"]:
                names.append(token["name"])
                texts.append("")
            elif not ended:
                texts[-1] += token[0]
        if empty:
            raise ValueError("must be one SELECT statement")
        return cls(tuple(texts), tuple(names))

    def fill(self, literal: Callable[[str], str]) -> str:
        """The statement with an SQL expression for each parameter."""
        parts = [f"({literal(name)}){text}" for name, text in zip(self.names, self.texts[1:], strict=True)]
        return self.texts[0] + "".join(parts)


def _comment_end(sql: str, place: int) -> int:
    """Where the comment ends that has begun: they nest."""
    depth = 1
    while depth:
        edge = COMMENT_EDGE.search(sql, place)
        if edge is None:
            raise ValueError("a comment has no end")
        depth += 1 if edge[0] == "/*" else -1
        place = edge.end()
    return place
