"""Structured lines through the standard library's logging, which whoever runs the service configures."""

import logging

import structlog

NAME = "confide.consent"


def logbook() -> structlog.stdlib.BoundLogger:
    """Return the service's logger: one JSON object per line."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(NAME),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return logger
