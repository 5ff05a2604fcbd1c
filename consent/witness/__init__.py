"""A witness of logs (C2SP tlog-witness): it cosigns heads that extend what it saw before, and nothing else.

It keeps one head per log and no entries, so that a rollback or a fork of a log is refused here whoever
holds the log's key.
"""

from consent.witness.app import create_app
from consent.witness.settings import WitnessSettings
from consent.witness.setup import initialise

__all__ = ["WitnessSettings", "create_app", "initialise"]
