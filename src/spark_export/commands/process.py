"""What a process that exports does before all else."""

from __future__ import annotations

import os
import sys

from spark_export.logs import configure_logs
from spark_export.memory import limit_malloc_arenas
from spark_export.settings import Settings

SWITCH_SECONDS = 0.0005
"""After which a thread gives up the interpreter lock that another waits for. Kernels give it up by themselves, so that
with Python's 5 ms the loop and the other kernel wait for page-wise code only: a million rows as PDF took 6 % longer."""


def set_up(settings: Settings) -> None:
    """Send the log where it belongs, bound what threads take, and go where the datasets' files are."""
    configure_logs(settings.log_format, settings.log_level)
    limit_malloc_arenas()
    sys.setswitchinterval(SWITCH_SECONDS)
    if settings.datasets is not None:
        # DuckDB knows relative names only against the working directory.
        os.chdir(settings.datasets.parent)
