"""What can go wrong in a job or command, as one tree: the command line prints the message and ends with 1."""

from drn.types import Entry


class JobError(Exception):
    """Every error that this package raises on purpose."""


class UnreadableLists(JobError):
    """Impressions that seemed fit to learn from are damaged, or have been erased since."""

    def __init__(self, entries: frozenset[Entry]) -> None:
        super().__init__(f"{len(entries)} impressions cannot be read")
        self.entries = entries


class UnreadableLog(JobError):
    """A file of a public log is absent or does not have the columns of its format."""


class Refused(JobError):
    """The API does not accept what the simulated newsroom sends; the message is its answer."""


class CannotRun(JobError):
    """A process cannot start or go on. The message says why and what to do."""


class Stopped(JobError):
    """The learner was asked to end while a network was being retrained."""


class UnequalChances(JobError):
    """The log proves a fault of the machine: what is compared in it did not have equal chances."""
