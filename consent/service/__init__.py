"""The consent service: it decides who may be used for what, permits rounds, and logs every act.

`initialise` makes keys, database and the first operator; `create_app` serves them.
"""

from consent.clock import Clock, utc_now
from consent.service.app import create_app
from consent.service.setup import initialise

__all__ = ["Clock", "create_app", "initialise", "utc_now"]
