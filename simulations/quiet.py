"""Keeping libraries' own chatter off the terminal of a command that draws on it."""

import logging
import warnings

import structlog


def quiet_libraries() -> None:
    """Let only warnings through; must run before Flower is asked to do anything."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    warnings.filterwarnings("ignore", category=UserWarning, module="opacus")
