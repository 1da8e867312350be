"""What can go wrong in the core, as one tree: `except DrnError` catches all of it."""


class DrnError(Exception):
    """Every error that this package raises on purpose."""


class InvalidConfig(DrnError, ValueError):
    """A hyper-parameter is outside its range, or two of them contradict each other."""


class InvalidInput(DrnError, ValueError):
    """A value handed to the core has the wrong shape, is not finite, or names something impossible."""


class NoCandidates(InvalidInput):
    """None of the articles asked for can be ranked. `unknown` names those that were given."""

    def __init__(self, unknown: tuple[str, ...] = ()) -> None:
        super().__init__("none of the candidates is a live article" if unknown else "there is no live article to rank")
        self.unknown = unknown


class SchemaMismatch(DrnError):
    """Weights or logged features were made under another feature schema than the one configured."""


class CorruptCheckpoint(DrnError):
    """Stored bytes do not decode to the weights, features or digest that they claim to hold."""
