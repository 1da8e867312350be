"""What is left of a logged decision when its features cannot be read: everything but them."""

import numpy as np
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from drn.types import Context, Floats, Impression, Interleaving, Observation, Pin
from service.store.impression_rows import COLUMNS
from service.store.impressions import located
from service.store.tables import impressions, requests

NO_FEATURES = Observation(
    reader=np.zeros((0, 0), np.uint16),
    reader_totals=np.zeros(0, np.uint16),
    context=np.zeros(0, np.uint8),
    content=np.zeros((0, 0), np.uint16),
    counts=np.zeros((0, 0), np.uint32),
    category_counts=np.zeros((0, 0), np.uint32),
    seen=np.zeros((0, 0), np.uint16),
    age=np.zeros(0, np.int32),
    embedding=np.zeros((0, 0), np.float16),
    reader_embedding=np.zeros(0, np.float16),
)


async def outline(connection: AsyncConnection, request_id: str) -> Impression | None:
    """What was served under this request id, without the features, which are not looked at."""
    query = located(select(*(impressions.c[name] for name in COLUMNS if name != "observation")))
    row = (await connection.execute(query.where(requests.c.request_id == request_id))).one_or_none()
    return outlined(row) if row else None


def outlined(row: Row[tuple[object, ...]]) -> Impression:
    """The row as it is. An article that is in the list but was no candidate becomes one without scores (NaN)."""
    candidates = tuple(dict.fromkeys([*row.candidates, *row.shown]))
    return Impression(
        request_id=row.request_id,
        at=row.at,
        user_id=row.user_id,
        context=Context(row.device, row.surface),
        version_id=row.version_id,
        seed=int(row.seed),
        k=row.k,
        explore=row.explore,
        pins=tuple(Pin(article_id, position) for article_id, position in zip(row.pin_ids, row.pin_positions, strict=True)),
        candidates=candidates,
        observation=NO_FEATURES,
        current_scores=scores(row.current_scores, len(candidates)),
        explore_scores=scores(row.explore_scores, len(candidates)),
        interleaving=Interleaving(
            shown=np.array([candidates.index(article_id) for article_id in row.shown], np.int32),
            credit=np.array(row.credit, np.float32),
            propensity=np.array(row.propensity, np.float32),
            pinned=np.array(row.pinned, np.bool_),
        ),
        unknown=tuple(row.unknown),
        fallback=row.fallback,
        boosts=np.nan_to_num(scores(row.boosts, len(candidates))) if len(row.boosts) == len(row.current_scores) else None,
    )


def scores(data: bytes, candidates: int) -> Floats:
    stored = np.frombuffer(data, "<f4").astype(np.float32)
    return np.concatenate([stored, np.full(candidates - len(stored), np.nan, np.float32)])
