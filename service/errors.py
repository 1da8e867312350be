"""What can go wrong at the service's edge. None of it knows HTTP: `routes.problems` gives each its status."""

from dataclasses import dataclass

from drn.errors import DrnError


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a request: where, and what."""

    field: str
    message: str


class ServiceError(DrnError):
    """A request that cannot be answered as asked.

    Args:
        detail: one sentence for the person who reads the answer.
        errors: the fields at fault, where there are any.
    """

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class NotFound(ServiceError):
    """Nothing is stored under this id."""


class Unprocessable(ServiceError):
    """Well-formed, but it contradicts what is stored or itself."""


class TooLarge(ServiceError):
    """More than a setting allows."""


class Unauthenticated(ServiceError):
    """No key, or one that does not exist (any more)."""


class Forbidden(ServiceError):
    """The key does not have the scope that this needs."""


class Unavailable(ServiceError):
    """It cannot be answered now; the same request may be sent again."""


class StartRefused(DrnError):
    """The service must not run as it is set up. The message says what to do."""
