"""One version of the ranker: a duel of two networks, where it came from and what it has learned from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from drn.beliefs import informed
from drn.checkpoint import digest
from drn.config import Config
from drn.errors import SchemaMismatch
from drn.exploration import open_explore, version_rng
from drn.features import dense_names, input_shape, schema_digest
from drn.holdback import begin
from drn.model import initial_weights
from drn.types import DuelState, HoldbackState, Model, VersionKind

NEW_SHARE = "new_share"  # metric: see `Version.new_share`
HALVING = 200  # lists: n of versions that did not keep it
RETRAINED_ON = "retrained_on"  # metric: lists of replay that the newest major update under a version's networks had learned from


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A link of the append-only line. The newest is served; a rollback is a new link that holds old weights."""

    id: int
    parent_id: int | None
    kind: VersionKind
    created_at: datetime
    model: Model
    duel: DuelState
    watermark: int  # seq of the last impression that the line has consumed, so that none is learned twice
    config: Config
    schema: str  # digest of the feature schema that the weights belong to
    metrics: Mapping[str, float]
    holdback: HoldbackState = field(default_factory=HoldbackState)

    @property
    def retrained_on(self) -> int:
        """How many lists of replay the newest major update under these networks had learned from; 0 before the first one."""
        return int(self.metrics.get(RETRAINED_ON, 0))

    @property
    def new_share(self) -> float:
        """n / (n + m): m lists the newest major update under these networks had learned from, of which n had come since a
        major update ago, as many as are expected until the next one. 1 before the first one.

        It was not kept at first; 200 lists are then what guided steps were halved by. With the gate 'duel' it holds from a major
        update on, whatever its readers decide.
        """
        before = HALVING / (HALVING + self.retrained_on)
        return float(self.metrics.get(NEW_SHARE, before))

    @property
    def tau(self) -> float:
        """τ of this version's lists: grows to `tau_trained` as major updates have more to learn from.

        With the gate 'duel' it stays: readers may not have let pass what was retrained.
        """
        config = self.config
        lists = 0 if config.gate == "duel" else self.retrained_on
        return config.tau + lists / (lists + config.tau_halfway) * max(0.0, config.tau_trained - config.tau)

    @property
    def digest(self) -> str:
        """sha256 of everything that decides what is served and learned next; equal digests mean equal behaviour."""
        parts = {
            "id": self.id,
            "kind": str(self.kind),
            "current": digest(self.model.current),
            "explore": digest(self.model.explore),
            "memory": digest(self.model.memory),
            "config": self.config.digest,
            "schema": self.schema,
            "duel": asdict(self.duel),
            "watermark": self.watermark,
            "retrained_on": self.retrained_on,
            "new_share": self.new_share,
            "holdback": asdict(self.holdback),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def initial_version(config: Config, at: datetime, *, parent_id: int | None = None, watermark: int = 0) -> Version:
    """An untrained network and its first explore network: version 1, or a new beginning behind the version `parent_id`.

    Args:
        watermark: the parent's, for what the line has consumed is not learned again
    """
    version_id = 1 if parent_id is None else parent_id + 1
    rng = version_rng(config, version_id)
    current = informed(initial_weights(input_shape(config), config, rng), dense_names(config), config)
    return Version(
        id=version_id,
        parent_id=parent_id,
        kind=VersionKind.INITIAL,
        created_at=at,
        model=Model(current, open_explore(current, config, rng)),
        duel=DuelState(id=version_id),
        watermark=watermark,
        config=config,
        schema=schema_digest(config),
        metrics={},
    )


def rollback(head: Version, target: Version, at: datetime) -> Version:
    """A child of `head` that serves `target`'s current network, with a fresh explore network and a new duel.

    The watermark stays the head's: what the line has consumed is not learned again. The target's own explore network
    had not won, so it does not come back.

    Raises:
        SchemaMismatch: `target` has other features or layers than those served now.
    """
    if target.schema != head.schema:
        raise SchemaMismatch(f"version {target.id} was made for features {target.schema}, version {head.id} serves {head.schema}")
    shapes = {name: tensor.shape for name, tensor in head.model.current.items()}
    if target.config.activation != head.config.activation:
        raise SchemaMismatch(f"version {target.id} was trained with {target.config.activation}, not {head.config.activation}")
    if shapes != {name: tensor.shape for name, tensor in target.model.current.items()}:
        raise SchemaMismatch(f"version {target.id} has other layers than version {head.id}, which is served now")
    version_id = head.id + 1
    current = target.model.current
    return Version(
        id=version_id,
        parent_id=head.id,
        kind=VersionKind.ROLLBACK,
        created_at=at,
        model=Model(current, open_explore(current, head.config, version_rng(head.config, version_id))),
        duel=DuelState(id=version_id),
        watermark=head.watermark,
        config=head.config,
        schema=head.schema,
        metrics={"target": float(target.id), RETRAINED_ON: float(target.retrained_on), NEW_SHARE: target.new_share},
        holdback=begin(version_id, at),
    )


def roll_back_harm(head: Version, reference: Version, at: datetime) -> Version:
    """The rollback of a current network that has lost to the hold-back's reference, with the figures that it lost by.

    Raises:
        SchemaMismatch: as `rollback`.
    """
    version, lost = rollback(head, reference, at), head.holdback
    figures = ("current_lists", "current_clicked", "reference_lists", "reference_clicked")
    return replace(
        version, metrics={**version.metrics, "automatic": 1.0, **{name: float(getattr(lost, name)) for name in figures}}
    )
