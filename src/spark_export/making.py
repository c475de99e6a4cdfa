"""Makes the writer of each export, of what all files share."""

from __future__ import annotations

import datetime as dt
import threading
import zoneinfo
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from spark_export.errors import Problems, SettingsError
from spark_export.export import Clocks, Plan
from spark_export.model import Format
from spark_export.settings import Settings, variable_of
from spark_export.text import Encoder, Style
from spark_export.text.times import TimeStyle
from spark_export.writers.base import Writer
from spark_export.writers.csv import CsvWriter, Dialect
from spark_export.writers.pdf import Imprint, PdfWriter
from spark_export.writers.pdf.faces import Face, Fonts, load_face, load_fonts
from spark_export.writers.pdf.filters import filters_text
from spark_export.writers.pdf.logo import Logo


class PdfParts:
    """What all PDFs share.

    Args:
        faces: the operator's, tried after the bundled main one.
        logo: in the title block.
        made_at_seconds: the time that each states, since the epoch; the clock's where None.
    """

    def __init__(self, faces: Sequence[Face], logo: Logo | None, made_at_seconds: int | None) -> None:
        self._faces = tuple(faces)
        self._lock = threading.Lock()
        self._fonts: Fonts | None = None
        self.logo = logo
        self.made_at_seconds = made_at_seconds

    def fonts(self) -> Fonts:
        """The fonts, loaded by the first PDF: 60 ms and 20 MB that a service of CSV alone does not need."""
        with self._lock:
            if self._fonts is None:
                self._fonts = load_fonts(self._faces)
            return self._fonts


def load_pdf_parts(settings: Settings, problems: Problems) -> PdfParts:
    """The operator's fonts and logo, as far as they can be used."""
    faces = [problems.instead(None, partial(_load_font, path)) for path in settings.fonts]
    logo = problems.instead(None, lambda: _load_logo(settings.logo))
    return PdfParts([face for face in faces if face is not None], logo, settings.source_date_epoch)


def _load_font(path: str) -> Face:
    try:
        return load_face(path)
    except ValueError as error:
        raise SettingsError(f"{variable_of('fonts')}: {error}") from None


def _load_logo(path: Path | None) -> Logo | None:
    if path is None:
        return None
    from spark_export.writers.pdf.artwork import load_logo  # 6 MB and 30 ms, which a service without a logo spares

    try:
        return load_logo(path)
    except ValueError as error:
        raise SettingsError(f"{variable_of('logo')}: {error}") from None


@dataclass(frozen=True)
class WriterFactory:
    """Makes the writer of each export.

    Args:
        threads: where batches are formatted.
        clocks: the time of making that a PDF shows.
        pdf: what PDFs share.
    """

    threads: Executor
    clocks: Clocks
    pdf: PdfParts

    def __call__(self, plan: Plan, schema: Any) -> Writer:
        """The writer for the plan and the schema of its rows.

        Raises:
            InvalidField: an option does not fit the columns.
        """
        return self._pdf(plan, schema) if plan.file_format is Format.PDF else self._csv(plan, schema)

    def _csv(self, plan: Plan, schema: Any) -> Writer:
        request = plan.request
        dialect = Dialect.from_options(request.csv)
        encoder = Encoder(schema, request.columns, dialect.style(request.timezone), untyped=plan.untyped)
        return CsvWriter(encoder, dialect, self.threads)

    def _pdf(self, plan: Plan, schema: Any) -> Writer:
        request = plan.request
        style = Style(TimeStyle(request.timezone, separator=" "))
        seconds = self.clocks.wall() if self.pdf.made_at_seconds is None else self.pdf.made_at_seconds
        imprint = Imprint(
            made_at=dt.datetime.fromtimestamp(seconds, zoneinfo.ZoneInfo(request.timezone)),
            title=request.dataset or "",
            filters=filters_text(request),
            logo=self.pdf.logo,
            reproducible=self.pdf.made_at_seconds is not None,
        )
        encoder = Encoder(schema, request.columns, style, untyped=plan.untyped)
        return PdfWriter(encoder, request.pdf, imprint, fonts=self.pdf.fonts, threads=self.threads)
