"""Minor and major updates: values in, a new version out. [DRN §4.1]

A minor update settles the duel on what readers did and lets the explore network go on. A major update retrains over
replay with double-Q targets; what minor updates learned meanwhile is applied again on top of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from drn.config import Config
from drn.errors import InvalidInput
from drn.exploration import es_gradient, judge, mirror, open_explore, step_towards, version_rng
from drn.guidance import guided_steps
from drn.holdback import carry_on
from drn.holdback import settle as settle_held_back
from drn.interleaving import outcome
from drn.model import freeze, is_finite
from drn.network import to_tensors, to_weights
from drn.optimiser import Adam
from drn.replay import Replay
from drn.retraining import Draws, Progress, draw, train
from drn.rewards import clicked
from drn.statistics import chances, reader_units
from drn.transitions import Experience, experience
from drn.types import ClosedImpression, DuelState, Model, Verdict, VersionKind, Weights
from drn.verdicts import follow, watch
from drn.versions import NEW_SHARE, RETRAINED_ON, Version

MAJOR_STREAM = 1  # keeps the draws of a major update apart from those of the version it starts from
ES_FIRST = "es.first"  # memory: mean outcome of the first of two antithetic directions, while the second is served


@dataclass(frozen=True, slots=True)
class Settled:
    """One impression's say in the duel."""

    request_id: str
    at: datetime
    user_id: str | None
    clicks: int
    outcome: float  # Σ over clicked slots of (2q − 1); above 0 speaks for explore


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one round of feedback leads to."""

    model: Model
    duel: DuelState
    verdict: Verdict
    judged: DuelState  # the score that the verdict was given on; equals `duel` while undecided


@dataclass(frozen=True, slots=True, eq=False)
class MinorUpdate:
    version: Version
    settled: tuple[Settled, ...]
    verdict: Verdict
    judged_duel: DuelState


@dataclass(frozen=True, slots=True, eq=False)
class Retrained:
    """What a major update trained, before it is published."""

    weights: Weights
    metrics: Mapping[str, float]
    accepted: bool  # whether it passed its gate
    base_id: int
    lists: int  # of replay that taught it something
    new: int  # of these, since a major update ago; at least 1


def minor_update(head: Version, closed: Sequence[ClosedImpression], config: Config, now: datetime) -> MinorUpdate:
    """Settles closed impressions in the head's duel and learns from them. The child of `head`, not yet published.

    Args:
        closed: in the order of the log, all after the head's watermark

    Raises:
        InvalidInput: nothing to learn from, or impressions that the line has consumed already.
    """
    if not closed:
        raise InvalidInput("a minor update needs at least one closed impression")
    if any(one.seq <= head.watermark for one in closed):
        raise InvalidInput(f"version {head.id} has consumed the log up to {head.watermark} already")
    speaking = [one for one in closed if speaks(one, head.duel)]
    settled = tuple(map(settled_outcome, speaking))
    version_id = head.id + 1
    duel = watched(head.duel, speaking, settled)
    experiences = (experience(one, config, now) for one in closed)
    step = learn(head.model, duel, experiences, [one.outcome for one in settled], config, version_id, head.new_share)
    version = Version(
        id=version_id,
        parent_id=head.id,
        kind=VersionKind.MINOR,
        created_at=now,
        model=step.model,
        duel=step.duel,
        watermark=closed[-1].seq,
        config=config,
        schema=head.schema,
        metrics={
            "impressions": float(len(closed)),
            "clicks": float(sum(int(clicked(one).sum()) for one in closed)),
            "settled": float(len(settled)),
            "outcome": float(sum(one.outcome for one in settled)),
            RETRAINED_ON: float(head.retrained_on),
            NEW_SHARE: head.new_share,
        },
        holdback=carry_on(settle_held_back(head.holdback, closed, config), version_id, config, now),
    )
    return MinorUpdate(version, settled, step.verdict, step.judged)


def speaks(closed: ClosedImpression, duel: DuelState) -> bool:
    """Whether an impression has a say: drawn by both networks of this duel, who disagree, with a slot that no rule had fixed.

    Versions are a line, so those from the duel's opening on belong to it; older ones served another pair of networks. Equal
    scores (a duel just opened, or a fallback in the networks' place) make every outcome 0: no evidence, so no impression.
    """
    impression = closed.impression
    disagreed = not np.array_equal(impression.current_scores, impression.explore_scores)
    return impression.explore and disagreed and not impression.interleaving.pinned.all() and impression.version_id >= duel.id


def settled_outcome(closed: ClosedImpression) -> Settled:
    impression, clicks = closed.impression, clicked(closed)
    credit = outcome(impression.interleaving.credit, clicks)
    return Settled(impression.request_id, impression.at, impression.user_id, int(clicks.sum()), credit)


def watched(duel: DuelState, speaking: Sequence[ClosedImpression], settled: Sequence[Settled]) -> DuelState:
    """The duel with what its readers said, and what its lists offered, in the sums of its always-valid tests."""
    if not speaking:
        return duel
    units = reader_units([one.user_id for one in settled], [one.clicks for one in settled], [one.outcome for one in settled])
    return watch(duel, units, np.concatenate([chances(one.impression.interleaving) for one in speaking]))


def learn(
    model: Model,
    duel: DuelState,
    experiences: Iterable[Experience],
    outcomes: Sequence[float],
    config: Config,
    version_id: int,
    new_share: float = 1.0,
) -> Step:
    """Judges the duel, acts on the verdict and, for a guided explore network, follows the feedback.

    A network that is not finite, or whose learner's memory is not, loses at once, whatever readers said: nobody could load it.

    Args:
        experiences: in the order of the log; only 'guided' looks at them, once
        outcomes: of the impressions that have a say in this duel
        version_id: of the version that this leads to; seeds its draws, and names the duel if a new one begins
        new_share: see `Version.new_share`
    """
    before = model
    judged, verdict = judge(duel, outcomes, config)
    if verdict is not Verdict.UNDECIDED:
        model = resolve(model, judged, verdict, config, version_rng(config, version_id))
        duel = follow(judged, version_id)
    else:
        duel = judged
    if config.direction == "guided":
        explore, memory = guided_steps(model.explore, model.memory, experiences, config, new_share)
        model = Model(model.current, explore, memory)
    if not all(map(is_finite, (model.current, model.explore, model.memory))):
        current = model.current if is_finite(model.current) else before.current
        if verdict is not Verdict.EXPLORE_WON or current is before.current:
            verdict, duel = Verdict.CURRENT_WON, follow(judged, version_id)
        model = Model(current, open_explore(current, config, version_rng(config, version_id)))
    return Step(model, duel, verdict, judged)


def resolve(model: Model, judged: DuelState, verdict: Verdict, config: Config, rng: np.random.Generator) -> Model:
    """The networks after a verdict, with the explore network of the next duel."""
    if config.direction == "es":
        return resolve_es(model, judged, config, rng)
    if verdict is Verdict.CURRENT_WON:
        return Model(model.current, open_explore(model.current, config, rng))
    if config.direction == "random":
        current = step_towards(model.current, model.explore, config.eta)
        return Model(current, open_explore(current, config, rng))
    return Model(model.explore, open_explore(model.explore, config, rng), model.memory)


def resolve_es(model: Model, judged: DuelState, config: Config, rng: np.random.Generator) -> Model:
    """After the first direction its mirror image is tried; after both, Adam climbs their estimated gradient."""
    mean = judged.total / judged.impressions
    if ES_FIRST not in model.memory:
        memory = {**model.memory, ES_FIRST: np.array([mean], np.float32)}
        return Model(model.current, mirror(model.current, model.explore), freeze(memory))
    gradient = es_gradient(model.current, model.explore, (float(model.memory[ES_FIRST][0]), mean), config.es_sigma)
    params = to_tensors(model.current)
    optimiser = Adam(params, config.es_rate, model.memory)
    optimiser.step({name: -tensor for name, tensor in to_tensors(gradient).items()})
    current = to_weights(params)
    return Model(current, open_explore(current, config, rng), optimiser.memory())


def major_update(
    base: Version, closed: Sequence[ClosedImpression], config: Config, now: datetime, progress: Progress | None = None
) -> Retrained:
    """Retrains the current network of `base` over replay. Long; nothing is published, the line may grow meanwhile.

    Args:
        closed: the newest closed impressions in the order of the log, with all their feedback, late clicks too
        progress: called with (steps done, steps in all)
    """
    replay = Replay.of(closed, config, now)
    return trained(base, replay, drawn(base, replay, config, now), config, progress)


def drawn(base: Version, replay: Replay, config: Config, now: datetime) -> Draws:
    """What a major update of `base` learns from: of a replay of which only `retraining.held_out` has been read."""
    rng = np.random.default_rng(np.random.SeedSequence([config.root_seed, base.id, MAJOR_STREAM]))
    return draw(replay, now.timestamp(), config, rng, untrained=not base.retrained_on)


def trained(base: Version, replay: Replay, draws: Draws, config: Config, progress: Progress | None = None) -> Retrained:
    """The major update on what was drawn; see `major_update`."""
    weights, metrics, accepted = train(base.model.current, replay, draws, config, progress)
    return Retrained(weights, metrics, accepted, base.id, len(draws.usable), draws.new)


def publish_retrained(retrained: Retrained, base: Version, head: Version, config: Config, at: datetime) -> Version:
    """The child of `head` that carries what `base` was retrained to, and every minor update that landed meanwhile.

    Gate 'duel': readers decide, so head.current goes on serving, and a new duel begins with what was retrained as explore.
    Otherwise it becomes current, θ_major + (head.current − base.current). A guided explore network moves by the same amount,
    so its duel goes on: were it abandoned, a site with few readers would never see one end. Other directions begin anew.

    Between `base` and `head` there must be minor updates only: across a rollback or another major update head − base is
    not what was learned. Only the line can tell for all of it; this looks at its end.

    Raises:
        InvalidInput: it failed its gate, `base` is not what it was trained from, or `head` itself is no minor update of it.
    """
    if not retrained.accepted:
        raise InvalidInput(f"the retrained network did not pass its gate: {dict(retrained.metrics)}")
    if retrained.base_id != base.id:
        raise InvalidInput(f"the network was retrained from version {retrained.base_id}, not from {base.id}")
    if head.id != base.id and head.kind is not VersionKind.MINOR:
        raise InvalidInput(f"version {head.id}, of kind {head.kind}, landed after version {base.id}, which was retrained")
    version_id = head.id + 1
    goes_on = config.direction == "guided" and config.gate != "duel"
    return Version(
        id=version_id,
        parent_id=head.id,
        kind=VersionKind.MAJOR,
        created_at=at,
        model=retrained_model(retrained.weights, base, head, config, version_rng(config, version_id)),
        duel=head.duel if goes_on else follow(head.duel, version_id),
        watermark=head.watermark,
        config=config,
        schema=head.schema,
        metrics={
            **retrained.metrics,
            "base": float(base.id),
            RETRAINED_ON: float(retrained.lists),
            NEW_SHARE: retrained.new / (retrained.new + retrained.lists),
        },
        holdback=head.holdback,
    )


def retrained_model(weights: Weights, base: Version, head: Version, config: Config, rng: np.random.Generator) -> Model:
    current = shifted(weights, head.model.current, base.model.current)
    if config.gate == "duel":  # the moments belong to the network that the new one replaces
        return Model(head.model.current, landed_on(weights, base, head) if config.direction == "guided" else current)
    if config.direction == "guided":
        return Model(current, shifted(weights, head.model.explore, base.model.current), head.model.memory)
    memory = {name: tensor for name, tensor in head.model.memory.items() if name != ES_FIRST}
    return Model(current, open_explore(current, config, rng), memory)


def landed_on(weights: Weights, base: Version, head: Version) -> Weights:
    """θ_major with the guided steps since `base` on top, or with those since the last verdict if one fell meanwhile."""
    before = base.model.explore if head.duel.id == base.duel.id else head.model.current
    return shifted(weights, head.model.explore, before)


def shifted(weights: Weights, new: Weights, old: Weights) -> Weights:
    """θ + (new − old), the delta taken first so that an unchanged network shifts by exactly 0."""
    return freeze({name: tensor + (new[name] - old[name]) for name, tensor in weights.items()})
