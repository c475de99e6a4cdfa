"""The one typed encoder: a record batch and column specs become text columns, by column kernels.

Pure: no clock, loop, settings or socket. Every format shows the text made here, so that a rule (a time zone, the
formula guard) is written once and holds everywhere.
"""

from spark_export.text.encoder import Column, Encoder, Kind, Style

__all__ = ["Column", "Encoder", "Kind", "Style"]
