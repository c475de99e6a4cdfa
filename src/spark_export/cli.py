"""The command `spark-export`."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext

import uvicorn
import uvloop

from spark_export import __version__
from spark_export.api.app import create_app
from spark_export.api.streaming import drop_broken_exports
from spark_export.errors import SettingsError
from spark_export.factory import Service, open_service
from spark_export.logs import configure_logs
from spark_export.settings import Settings, load_settings, variable_of

LOG = logging.getLogger("spark_export")

M_ARENA_MAX = -8
"""Parameter of glibc's mallopt(3)."""
MALLOC_ARENAS = 2
"""Peak memory of 10,000,000 rows as CSV: 227 to 233 MiB with two, 237 to 239 with an arena a thread (glibc's way)."""


SWITCH_SECONDS = 0.0005
"""After which a thread gives up the interpreter lock that another waits for. Kernels give it up by themselves, so that
with Python's 5 ms the loop and the other kernel wait for page-wise code only: a million rows as PDF took 6 % longer."""


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process with the signal's status."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leave signals to `serve`."""
        return nullcontext()


def main(arguments: list[str] | None = None) -> None:
    """Run the command; a setting that cannot be used ends it with status 1 and one line that names it."""
    parsed = _parser().parse_args(arguments)
    given = {name: getattr(parsed, name) for name in Settings.model_fields if getattr(parsed, name) is not None}
    try:
        serve(load_settings(**given))
    except SettingsError as error:
        sys.exit(f"spark-export: {error}")


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: the datasets file cannot be used.
    """
    configure_logs(settings.log_format, settings.log_level)
    _limit_malloc_arenas()
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.getLogger("uvicorn.error").addFilter(drop_broken_exports)
    if settings.datasets is not None:
        # DuckDB knows relative names only against the working directory.
        os.chdir(settings.datasets.parent)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with open_service(settings) as service:
        config = uvicorn.Config(
            create_app(service),
            host=settings.host,
            port=settings.port,
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            proxy_headers=settings.trusted_proxies is not None,
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        )
        server = Server(config)
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, _stop, server, service)
        LOG.info("spark-export %s serves on http://%s:%d", __version__, settings.host, settings.port)
        await server.serve()


def _limit_malloc_arenas() -> None:
    """Keep the threads' freed memory in few places; where the C library is another one, nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, MALLOC_ARENAS)


def _stop(server: Server, service: Service) -> None:
    """Admit no more exports and let the running ones finish; asked again, do not wait for them."""
    LOG.info("draining: %d exports run", service.gate.running)
    service.gate.drain()
    server.force_exit = server.should_exit
    server.should_exit = True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spark-export", description="Turns rows into CSV and PDF files.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    serve_parser = commands.add_parser("serve", help="serve exports over HTTP")
    for name, field in Settings.model_fields.items():
        serve_parser.add_argument(
            f"--{name.replace('_', '-')}", metavar="VALUE", help=f"{field.description} [{variable_of(name)}]"
        )
    return parser


if __name__ == "__main__":
    main()
