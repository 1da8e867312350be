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
    """A running rule holds this place, or is of this kind for this article, already."""


class VersionConflict(StoreError):
    """Another version has already taken this place in the line."""


class NoSuchVersion(StoreError, LookupError):
    """The line holds no version of this id."""


class WeightsPruned(StoreError):
    """The version is still in the line, but its weights were dropped to save space."""
