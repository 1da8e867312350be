"""A request for a list → the impression that was logged for it."""

import time
from dataclasses import replace

import numpy as np

from drn.catalogue import Catalogue
from drn.editing import CAPS_IGNORED, edited
from drn.errors import CorruptCheckpoint, InvalidInput, NoCandidates, SchemaMismatch
from drn.ranking import decide
from drn.readers import Reader
from drn.types import Impression, RankRequest
from service.deadline import RETRY, within
from service.errors import FieldError, TooLarge, Unavailable, Unprocessable
from service.node import Node
from service.store.errors import DuplicateRequest, StoreUnavailable


async def rank(node: Node, request: RankRequest) -> Impression:
    """Decides, commits the impression, brings the memory up to date, and returns it: what is returned is in the log.

    Raises:
        TooLarge: more candidates than the setting allows.
        Unprocessable: no candidate can be ranked, or the request id was used for another reader.
        Unavailable: no version yet, or the store does not answer; nothing is returned that is not committed.
    """
    if request.candidates is not None and len(request.candidates) > node.settings.max_candidates:
        raise TooLarge(
            f"{len(request.candidates)} candidates; at most {node.settings.max_candidates} are ranked",
            (FieldError("candidates", f"at most {node.settings.max_candidates} (DRN_MAX_CANDIDATES)"),),
        )
    impression = await decide_and_log(node, request)
    node.metrics.impressions.inc()
    node.metrics.candidates.observe(len(impression.candidates))
    if impression.fallback not in (None, CAPS_IGNORED):  # caps are no part of the ranking
        node.metrics.fallbacks.inc()
    return impression


async def decide_and_log(node: Node, request: RankRequest) -> Impression:
    """The writer brings the memory up to date with its commit, so a request that gives up waiting loses nothing."""
    deadline = time.monotonic() + node.settings.store_timeout
    user_id = request.user_id
    reader = node.live.build_reader((), {}) if user_id is None else node.live.cached_reader(user_id)
    if reader is None:
        reader = await within(node.settings.store_timeout, node.follower.reader(user_id))
    try:
        impression = decision(node, request, reader)
        await node.writer.write(impression, deadline - time.monotonic())
    except DuplicateRequest:
        return await stored(node, request)
    except StoreUnavailable as error:
        node.follower.doubt()
        raise Unavailable(RETRY) from error
    except (Unprocessable, Unavailable):
        # The articles of a repeated request may be gone by now; its list is not.
        if (before := await logged(node, request)) is not None:
            return before
        raise
    return impression


def decision(node: Node, request: RankRequest, reader: Reader) -> Impression:
    served = node.live.served  # one reference, one version for the whole decision
    if served is None:
        raise Unavailable("there is no version yet: the learner (python -m jobs schedule) writes the first one")
    request, limited = within_limit(request, node.live.catalogue, node.settings.max_candidates)
    uncapped = None
    try:
        if node.live.rules:
            request, uncapped = edited(request, node.live.rules, node.live.catalogue, reader, request.at)
        impression = decide(request, served, node.live.catalogue, reader, request.at)
    except NoCandidates as error:
        raise Unprocessable(
            str(error), tuple(FieldError("candidates", f"{name!r}: no such live article") for name in error.unknown[:100])
        ) from error
    except InvalidInput as error:
        raise Unprocessable(str(error)) from error
    reasons = [reason for reason in (impression.fallback, limited, uncapped, node.live.refused) if reason]
    return replace(impression, fallback="; ".join(reasons)) if reasons else impression


def within_limit(request: RankRequest, catalogue: Catalogue, limit: int) -> tuple[RankRequest, str | None]:
    """The request, asking for the newest `limit` articles where it asked for a larger live catalogue, and that reason."""
    if request.candidates is not None:
        return request, None
    live = catalogue.live(request.at)
    if len(live) <= limit:
        return request, None
    newest = np.sort(live[np.argsort(-catalogue.published[live], kind="stable")[:limit]])
    reason = f"the newest {limit} of {len(live)} live articles were ranked (DRN_MAX_CANDIDATES)"
    return replace(request, candidates=catalogue.ids(newest)), reason


async def stored(node: Node, request: RankRequest) -> Impression:
    """The list that the request got before."""
    before = await logged(node, request)
    if before is None:  # registered but gone: its reader was erased in this very moment
        raise Unprocessable(
            "this request id was used before and its list has been erased", (FieldError("request_id", "used before"),)
        )
    return before


async def logged(node: Node, request: RankRequest) -> Impression | None:
    """The list that is logged under the request's id, if the request comes from the reader whom it was made for.

    Raises:
        Unprocessable: it was another reader's: nobody gets what was ranked for another.
    """
    try:
        before = await within(node.settings.store_timeout, node.impression(request.request_id))
    except (CorruptCheckpoint, SchemaMismatch):  # logged by another release, whose features nobody needs to see the list again
        before = await within(node.settings.store_timeout, node.outline(request.request_id))
    if before is not None and before.user_id != request.user_id:
        raise Unprocessable(
            f"request {before.request_id!r} was another reader's", (FieldError("request_id", "used before, for another reader"),)
        )
    return before
