"""One decision: a request, what is known now, and two networks → an Impression; and the same again from its logged row."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from drn.catalogue import Catalogue
from drn.config import Config
from drn.errors import InvalidInput, NoCandidates
from drn.features import dense_names, encode, measure, observe
from drn.holdback import half
from drn.interleaving import boosted, interleave_by_seed, ranked_alone
from drn.kernels import all_finite
from drn.readers import Reader
from drn.scoring import Scorer
from drn.types import Boost, Floats, Impression, Interleaving, Ints, Observation, RankRequest
from drn.versions import Version


@dataclass(frozen=True, slots=True)
class Served:
    """The version that answers requests: its id, its configuration, τ and its two networks. Swapped as one reference."""

    version_id: int
    config: Config
    tau: float
    scorer: Scorer
    reference: "Served | None" = None  # answers one half of the lists that are held back; None: none are


def serving(version: Version) -> Served:
    """What answers with this version's networks; it holds nothing back."""
    return Served(version.id, version.config, version.tau, Scorer(version.model, version.config))


def decide(request: RankRequest, served: Served, catalogue: Catalogue, reader: Reader, now: datetime) -> Impression:
    """Both networks rank the candidates as of `now`; the two rankings are interleaved. Draws come from the request's id.

    Raises:
        NoCandidates: none of the candidates can be ranked.
        InvalidInput: pins contradict each other, the list's length or the exclusions.
    """
    request, served = assigned(request, served)
    rows, unknown = candidate_rows(request, catalogue, now)
    candidates = candidate_ids(request, catalogue, rows)
    observation = observe(catalogue, reader, rows, request.context, now)
    scores, fallback = score(observation, served, rows, catalogue.content_revision)
    boosts = boosts_of(rows, request.boosts, catalogue) if request.boosts else None
    pins = tuple(pin for pin in request.pinned if pin.article_id not in unknown)
    seed = request_seed(request.request_id)
    positions = {pin.position: candidates.index(pin.article_id) for pin in pins}
    return Impression(
        request_id=request.request_id,
        at=now,
        user_id=request.user_id,
        context=request.context,
        version_id=served.version_id,
        seed=seed,
        k=request.k,
        explore=request.explore,
        pins=pins,
        candidates=candidates,
        observation=observation,
        current_scores=scores[0],
        explore_scores=scores[1],
        interleaving=merge(boosted(scores, boosts), positions, request.k, seed if request.explore else None, served),
        unknown=unknown,
        fallback=fallback,
        boosts=boosts,
    )


def assigned(request: RankRequest, served: Served) -> tuple[RankRequest, Served]:
    """Who answers: a list that is held back is not explored, and one half of these is the reference's."""
    if served.reference is None or not request.explore or not (side := half(request.request_id, served.config.holdback_share)):
        return request, served
    return replace(request, explore=False), served if side > 0 else served.reference


def derive(logged: Impression, served: Served) -> Impression:
    """The decision made again from its logged row alone: observation, version, seed, pins, boosts and k.

    Raises:
        InvalidInput: `served` is not the version that made the decision.
    """
    if served.version_id != logged.version_id:
        raise InvalidInput(f"decision {logged.request_id} was made by version {logged.version_id}, not {served.version_id}")
    scores, fallback = score(logged.observation, served)
    positions = {pin.position: logged.candidates.index(pin.article_id) for pin in logged.pins}
    merged = merge(boosted(scores, logged.boosts), positions, logged.k, logged.seed if logged.explore else None, served)
    return replace(logged, current_scores=scores[0], explore_scores=scores[1], interleaving=merged, fallback=fallback)


def candidate_rows(request: RankRequest, catalogue: Catalogue, now: datetime) -> tuple[Ints, tuple[str, ...]]:
    """Rows to rank, pinned articles among them, and the ids asked for that cannot be."""
    if request.pinned:
        check_pins(request)
    pinned = [pin.article_id for pin in request.pinned]
    if request.candidates is not None:
        rows, unknown = catalogue.rows([*request.candidates, *pinned] if pinned else request.candidates, now)
    else:
        _, unknown = catalogue.rows(pinned, now)
        rows = catalogue.live(now)
    if request.exclude:
        excluded = [row for article_id in request.exclude if (row := catalogue.row(article_id)) is not None]
        rows = rows[~np.isin(rows, np.array(excluded, np.int32))]
    if not len(rows):
        raise NoCandidates(unknown)
    return rows, unknown


def candidate_ids(request: RankRequest, catalogue: Catalogue, rows: Ints) -> tuple[str, ...]:
    """The ids of these rows, which `candidate_rows` found: the request's own where nothing was dropped or added."""
    if request.candidates is not None and len(rows) == len(request.candidates) and not request.pinned:
        return request.candidates
    return catalogue.ids(rows)


def boosts_of(rows: Ints, boosts: Sequence[Boost], catalogue: Catalogue) -> Floats | None:
    """What is added to the scores of these rows; None where none of them is boosted.  (n,) → (n,)

    Raises:
        InvalidInput: it is not finite.
    """
    added = np.zeros(len(rows), np.float32)
    with np.errstate(over="ignore"):
        for row, boost in zip(catalogue.find([boost.article_id for boost in boosts]), boosts, strict=True):
            added[rows == row] += boost.by
    if not np.isfinite(added).all():
        raise InvalidInput("a boost is too large")
    added.setflags(write=False)
    return added if added.any() else None


def check_pins(request: RankRequest) -> None:
    positions = [pin.position for pin in request.pinned]
    articles = [pin.article_id for pin in request.pinned]
    if len(set(positions)) < len(positions):
        raise InvalidInput("two articles are pinned to one position")
    if len(set(articles)) < len(articles):
        raise InvalidInput("one article is pinned to two positions")
    if any(not 0 <= position < request.k for position in positions):
        raise InvalidInput(f"a pinned position lies outside 0 to {request.k - 1}")
    if both := set(articles) & set(request.exclude):
        raise InvalidInput(f"{min(both)} is both pinned and excluded")


def score(
    observation: Observation, served: Served, rows: Ints | None = None, revisions: NDArray[np.int32] | None = None
) -> tuple[Floats, str | None]:
    """Scores of both networks, and why they are something simpler.  (2, n)

    Where explore's are not finite they are current's; where current's are not, both are the smoothed click rate of a day.
    """
    scores = served.scorer.scores(measure(observation, served.config), rows, revisions)
    if all_finite(scores):
        return scores, None
    if all_finite(scores[:1]):
        return np.stack([scores[0], scores[0]]), "the explore network's scores were not finite: ranked by current alone"
    rate = encode(observation, served.config).dense[:, dense_names(served.config).index("rate_24h")]
    return np.stack([rate, rate]), "the current network's scores were not finite: ranked by click rate"


def merge(scores: Floats, pinned: dict[int, int], k: int, seed: int | None, served: Served) -> Interleaving:
    """The interleaved list, or the current network's own where there is no seed to explore with."""
    if seed is None:
        return ranked_alone(scores[0], k, pinned)
    return interleave_by_seed(scores, k, served.tau, (served.config.root_seed + seed) % 2**63, pinned)


def request_seed(request_id: str) -> int:
    """63 bits that stand for a request id in every process."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest(), "little") >> 1
