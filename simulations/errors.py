"""What can be wrong with what a simulation is given, each one sentence with a next step."""


class SimulationError(Exception):
    """Base of every error that the laboratory raises on purpose; `code` is stable for machines."""

    code = "simulation_error"


class InputError(SimulationError):
    """A file, column or option can not be used as given; nothing was written."""

    code = "bad_input"
