"""Where a job's file goes: into the folder of jobs, to a bucket while it is made, or to a URL once it is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from spark_export.delivery.bucket import open_upload
from spark_export.export import Export
from spark_export.filename import content_disposition, filename_of
from spark_export.jobs.files import JobFiles
from spark_export.jobs.maker import Sink
from spark_export.jobs.record import Order


@dataclass(frozen=True)
class Sinks:
    """Opens the sink of each order.

    Args:
        files: of jobs.
    """

    files: JobFiles

    def open(self, order: Order, export: Export) -> AbstractAsyncContextManager[Sink]:
        """Takes the file's chunks; the file is there when the block ends well, else nothing of it.

        Raises:
            SinkError: it cannot be stored or delivered.
        """
        deliver = order.request.deliver
        if deliver is None:
            return self.files.open_file(order.export_id, order.caller)
        if deliver.url.startswith("s3:"):
            return _open_bucket(deliver.url, order, export)
        return self._open_url(deliver.url, order, export)

    @asynccontextmanager
    async def _open_url(self, url: str, order: Order, export: Export) -> AsyncIterator[Sink]:
        """A presigned PUT takes a body of a length that is known (S3 refuses any other), so the file is made first."""
        from spark_export.delivery.put import put_file  # and httpx with it, which a start spares

        try:
            async with self.files.open_file(order.export_id, order.caller) as file:
                yield file
            progress, path = export.progress, self.files.file(order.export_id)
            digest = progress.digest.hexdigest()
            file.object_tag = await put_file(url, path, progress.bytes, export.media_type, digest)
        finally:
            await self.files.remove_file(order.export_id, order.caller)


@asynccontextmanager
async def _open_bucket(url: str, order: Order, export: Export) -> AsyncIterator[Sink]:
    disposition = content_disposition(filename_of(order.request, order.file_format))
    async with open_upload(url, export.media_type, disposition) as upload:
        yield upload
        await upload.finish()
