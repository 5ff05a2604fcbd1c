"""What a log's own entries say was erased, against what a copy of it shows as erased.

An erasure logs how many entries it took the openings of. Whoever blanks further lines of a copy shows more
erased ones than these entries account for.
"""

import json

from consent.log.report import Report

KIND = "subject_erased"
MARK = b'"kind":"subject_erased"'


def erased_by(line: bytes) -> int:
    """Return how many entries an erasure destroyed; 0 when the line opens an entry about something else.

    Args:
        line: an opening in its canonical spelling that was found to open its entry.
    """
    if MARK not in line:
        return 0
    payload = json.loads(line)["payload"]
    destroyed = payload.get("destroyed")
    count = destroyed.get("entries") if payload.get("kind") == KIND and isinstance(destroyed, dict) else None
    return count if type(count) is int and count > 0 else 0


def require_accounted(report: Report, file: str) -> None:
    """Report it when more openings are erased than the log's own entries account for."""
    if report.erased > report.accounted:
        report.add(
            "erasure",
            file,
            f"{report.erased} openings say that they are erased and entries about erasures account for "
            f"{report.accounted}; compare with another copy, and with a later one if an erasure was just made",
        )
