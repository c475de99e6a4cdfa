"""`spark-export serve`: exports over HTTP until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AbstractContextManager, nullcontext, suppress

import uvicorn
import uvloop
from starlette.types import ASGIApp

from spark_export import __version__
from spark_export.admission.gate import Gate
from spark_export.api.app import create_app, create_ops_app
from spark_export.api.protocol import bounded, drop_invalid_requests
from spark_export.api.streaming import drop_broken_exports
from spark_export.commands.process import set_up
from spark_export.factory import open_service
from spark_export.jobfactory import open_jobs
from spark_export.jobs.downloads import Downloads
from spark_export.settings import Settings, is_loopback

LOG = logging.getLogger("spark_export")

FLUSH_SECONDS = 1
"""At the end, for answers other than exports: what is being refused, a scrape."""


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process with the signal's status."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leave signals to `serve`."""
        return nullcontext()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: naming all that cannot be used.
    """
    set_up(settings)
    for drop in (drop_broken_exports, drop_invalid_requests):
        logging.getLogger("uvicorn.error").addFilter(drop)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with open_service(settings) as service, open_jobs(service) as jobs:
        servers = [_server(settings, create_app(service, jobs), settings.host, settings.port)]
        LOG.info("spark-export %s serves on http://%s:%d", __version__, settings.host, settings.port)
        if settings.ops_port is not None:
            host = settings.ops_host or settings.host
            servers.append(_server(settings, create_ops_app(service), host, settings.ops_port))
            LOG.info("metrics and health are on http://%s:%d", host, settings.ops_port)
        if not settings.has_keys:
            LOG.log(
                logging.INFO if is_loopback(settings.host) else logging.WARNING,
                "no API keys: whoever reaches %s may export everything",
                settings.host,
            )
        asked_to_stop = _stop_signals()
        serving = [asyncio.create_task(server.serve()) for server in servers]
        stopping = asyncio.create_task(asked_to_stop.wait())
        await asyncio.wait({*serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await _drain(service.gate, jobs.downloads, settings.drain_seconds)
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving)


def _server(settings: Settings, app: ASGIApp, host: str, port: int) -> Server:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=bounded(settings.max_connections),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=settings.trusted_proxies is not None,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=FLUSH_SECONDS,
    )
    return Server(config)


def _stop_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second ends the process at once, and so breaks what still runs."""
    asked = asyncio.Event()

    def on_signal(number: int) -> None:
        if asked.is_set():
            LOG.warning("ended at once")
            os._exit(128 + number)
        asked.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, on_signal, each)
    return asked


async def _drain(gate: Gate, downloads: Downloads, seconds: float) -> None:
    """Admit no more exports, and let what runs finish in time; the server goes on answering meanwhile."""
    LOG.info("draining: %d exports and %d downloads run", gate.running, downloads.running)
    gate.drain()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await gate.until_idle()
            await downloads.until_none()
    if gate.running or downloads.running:
        LOG.warning("DRAIN_SECONDS passed: %d exports and %d downloads are broken off", gate.running, downloads.running)
