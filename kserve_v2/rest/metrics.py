"""The metrics port."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kserve_v2.caching.cache import ResponseCache
from kserve_v2.metrics.processes import ProcessFigures
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.metrics.families import metrics_text
from kserve_v2.scheduling.slices import Slicer

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(eq=False)
class MetricsApp:
    """ASGI application of the metrics port: `GET /metrics`. The server leaves the body of HEAD out. `processes`: what
    the server's own say of themselves now.
    """

    manager: ModelManager
    processes: Callable[[], Sequence[ProcessFigures]]
    slicer: Slicer
    cache: ResponseCache | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a scrape; see ASGI for the arguments."""
        status = 200
        text: str | memoryview
        if scope["method"] not in ("GET", "HEAD"):
            status, text = 405, "Method Not Allowed"
        elif scope["path"].rstrip("/") != "/metrics":
            status, text = 404, "Not Found: the metrics are at /metrics"
        else:
            manager = self.manager
            await manager.count()
            slices = metrics_text(
                manager.ready_models(),
                self.processes(),
                manager.metrics,
                self.cache,
                manager.released(),
                manager.residency,
            )
            text = memoryview(await self.slicer.finish(slices))
        await Response(text, status, media_type=_CONTENT_TYPE)(scope, receive, send)
