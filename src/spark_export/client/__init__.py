"""A client of the service, on httpx; imports nothing else of this package, so that it is there at once.

async with ExportClient("http://127.0.0.1:4001") as client:
    await client.save({"dataset": "trades"}, "trades.csv")
"""

from spark_export.client.bodies import Body, Content, Request
from spark_export.client.client import ExportClient, OnBytes, OnReceipt
from spark_export.client.connection import Patience, Receipt
from spark_export.client.errors import BrokenExport, ClientError, ExportFailed, Refused, Unreachable, WrongDigest
from spark_export.client.streams import Answer, Resumed

__all__ = [
    "Answer",
    "Body",
    "BrokenExport",
    "ClientError",
    "Content",
    "ExportClient",
    "ExportFailed",
    "OnBytes",
    "OnReceipt",
    "Patience",
    "Receipt",
    "Refused",
    "Request",
    "Resumed",
    "Unreachable",
    "WrongDigest",
]
