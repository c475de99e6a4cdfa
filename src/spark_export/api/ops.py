"""What the platform asks: metrics and health."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel

from spark_export import __version__
from spark_export.admission.gate import draining_error
from spark_export.api.problems import problem_responses
from spark_export.api.state import service_of
from spark_export.metrics import CONTENT_TYPE

router = APIRouter()


class Health(BaseModel):
    """The service's load."""

    status: str
    version: str
    running: int
    waiting: int


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """The series, in Prometheus' text format."""
    return Response(service_of(request).metrics.render(), media_type=CONTENT_TYPE)


@router.get("/livez", response_class=PlainTextResponse)
async def livez() -> str:
    """The process answers: restart it when this does not."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse, responses=problem_responses(503))
async def readyz(request: Request) -> str:
    """New exports are welcome: send none when this says 503."""
    if service_of(request).gate.draining:
        raise draining_error()
    return "ok\n"


@router.get("/healthz")
async def healthz(request: Request) -> Health:
    """The same for people, with the load."""
    gate = service_of(request).gate
    status = "draining" if gate.draining else "ok"
    return Health(status=status, version=__version__, running=gate.running, waiting=gate.waiting)
