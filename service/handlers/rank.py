"""A request for a list → the impression that was logged for it."""

from dataclasses import replace

import numpy as np

from drn.catalogue import Catalogue
from drn.errors import InvalidInput, NoCandidates
from drn.ranking import decide
from drn.types import Impression, RankRequest
from service.deadline import within
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
    impression = await within(node.settings.store_timeout, decide_and_log(node, request))
    node.metrics.impressions.inc()
    node.metrics.candidates.observe(len(impression.candidates))
    if impression.fallback:
        node.metrics.fallbacks.inc()
    return impression


async def decide_and_log(node: Node, request: RankRequest) -> Impression:
    try:
        impression = await decision(node, request)
        seq = await node.writer.write(impression)
    except DuplicateRequest:
        return await stored(node, request)
    except StoreUnavailable:
        node.follower.doubt()
        raise
    except (Unprocessable, Unavailable):
        # The articles of a repeated request may be gone by now; its list is not.
        if (before := await node.impression(request.request_id)) is not None:
            return own(before, request)
        raise
    node.live.show_impression(seq, impression)
    return impression


async def decision(node: Node, request: RankRequest) -> Impression:
    reader = await node.follower.reader(request.user_id)
    served = node.live.served  # after the last wait: one reference, one version for the whole decision
    if served is None:
        raise Unavailable("there is no version yet: the learner (python -m jobs schedule) writes the first one")
    request, limited = within_limit(request, node.live.catalogue, node.settings.max_candidates)
    try:
        impression = decide(request, served, node.live.catalogue, reader, request.at)
    except NoCandidates as error:
        raise Unprocessable(
            str(error), tuple(FieldError("candidates", f"{name!r}: no such live article") for name in error.unknown[:100])
        ) from error
    except InvalidInput as error:
        raise Unprocessable(str(error)) from error
    reasons = [reason for reason in (impression.fallback, limited, node.live.refused) if reason]
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
    impression = await node.impression(request.request_id)
    if impression is None:  # registered but gone: its reader was erased in this very moment
        raise Unprocessable(
            "this request id was used before and its list has been erased", (FieldError("request_id", "used before"),)
        )
    return own(impression, request)


def own(logged: Impression, request: RankRequest) -> Impression:
    """The logged list, if the request comes from the reader whom it was made for: nobody gets what was ranked for another."""
    if logged.user_id != request.user_id:
        raise Unprocessable(
            f"request {logged.request_id!r} was another reader's", (FieldError("request_id", "used before, for another reader"),)
        )
    return logged
