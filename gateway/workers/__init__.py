"""Several processes of this gateway on one machine."""

from typing import Final

ALONE: Final = (
    "REDIS_URL is not set: whose watcher reaches another worker than their session's gets finals a second late and no "
    "partials; rate limits count for each worker"
)
