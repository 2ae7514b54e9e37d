"""RTMP in: many publishers on one port, their audio out."""

from ingest.rtmp.counters import RtmpCounters
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.protocol import Limits
from ingest.rtmp.publisher import Publisher, PublishHandler
from ingest.rtmp.server import RtmpServer

__all__ = ["Limits", "PublishHandler", "Publisher", "RtmpCounters", "RtmpOptions", "RtmpServer"]
