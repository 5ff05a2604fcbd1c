"""`confide demo`: five synthetic brands, from event files and opt-ins to decisions and a verified log."""

from simulations.demo.run import DemoOptions, check_demo, run_demo

__all__ = ["DemoOptions", "check_demo", "run_demo"]
