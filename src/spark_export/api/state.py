"""What stands behind the application, and who asks it."""

from __future__ import annotations

from fastapi import Request

from spark_export.access import Caller
from spark_export.api.callers import Callers
from spark_export.jobs.jobs import Jobs
from spark_export.service import Service


def service_of(request: Request) -> Service:
    """The service behind the application."""
    found: Service = request.app.state.service
    return found


def jobs_of(request: Request) -> Jobs:
    """The jobs behind the application."""
    found: Jobs = request.app.state.jobs
    return found


def caller_of(request: Request) -> Caller:
    """Who asks.

    Raises:
        Unauthorized: nobody with a key, where one is needed.
    """
    callers: Callers = request.app.state.callers
    return callers.caller_of(request.scope)
