"""The application: routes and error handlers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from spark_export import __version__
from spark_export.api import datasets, exports, ops, previews, receipts
from spark_export.api.callers import Callers
from spark_export.api.ids import RequestIds
from spark_export.api.problems import Problem, add_handlers
from spark_export.api.refusals import Doorkeeper
from spark_export.jobs.jobs import Jobs
from spark_export.service import Service


def create_app(service: Service, jobs: Jobs) -> ASGIApp:
    """The application over a service and its jobs, which its caller opens and closes.

    The door is before FastAPI: what is refused there costs the less.
    """
    app = FastAPI(
        title="spark-export",
        version=__version__,
        summary="Turns rows into CSV and PDF files, streaming, at any size.",
    )
    app.state.service = service
    app.state.jobs = jobs
    callers = app.state.callers = Callers(service.keyring)
    app.include_router(exports.router, tags=["exports"])
    for router in (datasets.router, previews.router, receipts.router):
        app.include_router(router, tags=["exports"])
    if service.settings.ops_port is None:
        app.include_router(ops.router, tags=["operations"])
    add_handlers(app)
    _describe_with_problems(app)
    return RequestIds(Doorkeeper(app, service, jobs, callers))


def create_ops_app(service: Service) -> ASGIApp:
    """Metrics and health alone, for a port of their own."""
    app = FastAPI(title="spark-export operations", version=__version__)
    app.state.service = service
    app.include_router(ops.router, tags=["operations"])
    add_handlers(app)
    return RequestIds(app)


def _describe_with_problems(app: FastAPI) -> None:
    """Put into the OpenAPI document the schemas that no route's signature names: the request and the problems."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            schemas = document["components"]["schemas"]
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= exports.BODY_DEFINITIONS | problem.pop("$defs") | {"Problem": problem}
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
