"""The few words of a page that are the writer's own, in the languages that it knows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The few words that are the writer's own."""

    before_page: str
    before_pages: str
    no_rows: str
    total: str
    pages: str
    rows: str


WORDS = {
    "en": Words("Page ", " of ", "No rows", "Total", "Pages", "rows"),
    "tr": Words("Sayfa ", " / ", "Satır yok", "Toplam", "Sayfalar", "satırlar"),
    "de": Words("Seite ", " von ", "Keine Zeilen", "Summe", "Seiten", "Zeilen"),
    "fr": Words("Page ", " sur ", "Aucune ligne", "Total", "Pages", "lignes"),
    "es": Words("Página ", " de ", "Sin filas", "Total", "Páginas", "filas"),
}


def words_of(language: str) -> Words:
    """In the language of a BCP 47 tag, in English where it is not known."""
    return WORDS.get(language.partition("-")[0].lower(), WORDS["en"])
