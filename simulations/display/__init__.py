"""How a simulated federation is shown: live progress, one table in the terminal, one page in a browser.

It renders the values of `simulations.results` and computes nothing about customers itself.
"""

from simulations.display.progress import LiveProgress
from simulations.display.report import render_report, write_report
from simulations.display.summary import demo_table

__all__ = ["LiveProgress", "demo_table", "render_report", "write_report"]
