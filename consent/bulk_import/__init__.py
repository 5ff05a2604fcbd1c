"""Files of choices that another system collected: read a line at a time, and a verdict for every row."""

from consent.bulk_import.reading import CSV, NDJSON, open_reader
from consent.bulk_import.verdicts import Refusal, Summary, Verdict, read_answer

__all__ = ["CSV", "NDJSON", "Refusal", "Summary", "Verdict", "open_reader", "read_answer"]
