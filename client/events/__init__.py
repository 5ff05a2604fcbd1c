"""The brand's event intake: files of five sources become one table of validated, deduplicated events.

Everything here stays at the brand, dead letters included; only counts by reason are meant to be looked at.
"""

from client.events.event import Event, Kind, Source
from client.events.report import IngestReport, RejectReason
from client.events.store import DeadLetter, EventStore

__all__ = ["DeadLetter", "Event", "EventStore", "IngestReport", "Kind", "RejectReason", "Source"]
