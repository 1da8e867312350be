"""What the store can refuse, as one tree."""


class StoreError(Exception):
    """Every error that the store raises on purpose."""


class StoreUnavailable(StoreError):
    """PostgreSQL cannot be reached, did not answer in time, or has no connection to spare. Trying again may help."""


class InvalidAddress(StoreError, ValueError):
    """DATABASE_URL is not the address of a PostgreSQL."""


class DuplicateRequest(StoreError):
    """A list is already stored under this request id."""


class NoSuchRequest(StoreError, LookupError):
    """The log holds no list of this request id (any more)."""


class Occupied(StoreError):
    """Somebody else has held what is needed for longer than could be waited."""


class RuleConflict(StoreError):
    """A running rule is in the way: of the same kind for the same article, or a pin at the same place."""

    def __init__(self, reason: str, of_article: bool) -> None:
        super().__init__(reason)
        self.of_article = of_article


class VersionConflict(StoreError):
    """Another version has already taken this place in the line."""


class NoSuchVersion(StoreError, LookupError):
    """The line holds no version of this id."""


class WeightsPruned(StoreError):
    """The version is still in the line, but its weights were dropped to save space."""
