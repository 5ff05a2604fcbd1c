"""Features as of a moment, at the brand: extraction, the table of training and deciding, and cells."""

from client.features.encoding import cells
from client.features.extract import FEATURE_NAMES, extract
from client.features.table import CustomerTable

__all__ = ["FEATURE_NAMES", "CustomerTable", "cells", "extract"]
