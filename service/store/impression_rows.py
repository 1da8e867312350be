"""An impression as a row and back, without loss: what was served can be derived again from what is stored."""

import struct
from collections.abc import Mapping, Sequence
from string import ascii_letters, digits
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import RowMapping

from drn.errors import CorruptCheckpoint
from drn.features import SCHEMA
from drn.packing import MAGIC, pack, unpack
from drn.types import Context, Floats, Impression, Interleaving, Pin
from service.store.prepared import Parameter

COLUMNS: Mapping[str, str] = {
    "at": "timestamptz",
    "request_id": "text",
    "user_id": "text",
    "version_id": "bigint",
    "seed": "numeric",
    "k": "integer",
    "explore": "boolean",
    "device": "text",
    "surface": "text",
    "pin_ids": "text[]",
    "pin_positions": "integer[]",
    "candidates": "text[]",
    "observation": "bytea",
    "current_scores": "bytea",
    "explore_scores": "bytea",
    "shown": "text[]",
    "credit": "real[]",
    "propensity": "real[]",
    "pinned": "boolean[]",
    "unknown": "text[]",
    "fallback": "text",
    "boosts": "bytea",
}
"""The columns that hold the impression itself, with their types."""

PREFIX = struct.pack("<4sH", MAGIC, SCHEMA)
"""What every observation begins with that this release can read."""

PLAIN = b",-.:_/" + (ascii_letters + digits).encode()
"""Of texts made of these, and commas between them, an array literal needs no quotes."""
SHORT = 8  # texts that are quoted unseen
BYTEA = 17  # the type's number


def encode(impression: Impression) -> tuple[Parameter, ...]:
    """The values of `COLUMNS` as PostgreSQL writes them: made here they cost a tenth of what the driver takes."""
    slots = impression.interleaving
    return (
        str(impression.at),
        impression.request_id,
        impression.user_id,
        str(impression.version_id),
        str(impression.seed),
        str(impression.k),
        str(impression.explore),
        impression.context.device,
        impression.context.surface,
        texts([pin.article_id for pin in impression.pins]),
        numbers([pin.position for pin in impression.pins]),
        texts(impression.candidates),
        pack(impression.observation),
        impression.current_scores.astype("<f4", copy=False).tobytes(),
        impression.explore_scores.astype("<f4", copy=False).tobytes(),
        texts(impression.article_ids),
        numbers(slots.credit),
        numbers(slots.propensity),
        numbers(slots.pinned),
        texts(impression.unknown),
        impression.fallback,
        b"" if impression.boosts is None else impression.boosts.astype("<f4", copy=False).tobytes(),
    )


def by_column(rows: Sequence[tuple[Parameter, ...]]) -> list[str | bytes]:
    """One array per column, of the values of many rows: bytes in binary form, everything else as a text[] literal."""
    kinds = zip(COLUMNS.values(), zip(*rows, strict=True), strict=True)
    return [byteas(values) if kind == "bytea" else optional_texts(values) for kind, values in kinds]


def decode(row: RowMapping) -> Impression:
    """Reads what `encode` wrote.

    Raises:
        CorruptCheckpoint: the stored bytes do not fit the stored candidates.
        SchemaMismatch: the features were logged under another feature schema.
    """
    candidates = tuple(row["candidates"])
    observation = unpack(row["observation"])
    if len(observation.age) != len(candidates):
        raise CorruptCheckpoint(
            f"impression {row['request_id']} has {len(candidates)} candidates, features of {len(observation.age)}"
        )
    boosts = floats(row["boosts"]) if row["boosts"] else None
    if boosts is not None and len(boosts) != len(candidates):
        raise CorruptCheckpoint(f"impression {row['request_id']} has {len(candidates)} candidates, boosts of {len(boosts)}")
    return Impression(
        request_id=row["request_id"],
        at=row["at"],
        user_id=row["user_id"],
        context=Context(row["device"], row["surface"]),
        version_id=row["version_id"],
        seed=int(row["seed"]),
        k=row["k"],
        explore=row["explore"],
        pins=tuple(Pin(article_id, position) for article_id, position in zip(row["pin_ids"], row["pin_positions"], strict=True)),
        candidates=candidates,
        observation=observation,
        current_scores=floats(row["current_scores"]),
        explore_scores=floats(row["explore_scores"]),
        interleaving=Interleaving(
            shown=frozen(places(candidates, row["shown"]), np.int32),
            credit=frozen(row["credit"], np.float32),
            propensity=frozen(row["propensity"], np.float32),
            pinned=frozen(row["pinned"], np.bool_),
        ),
        unknown=tuple(row["unknown"]),
        fallback=row["fallback"],
        boosts=boosts,
    )


def byteas(values: Sequence[bytes]) -> bytes:
    """A bytea[] in its binary form: dimensions, no NULLs, type, length and first index, then each with its own length."""
    parts = [struct.pack("!iiIii", 1, 0, BYTEA, len(values), 1)]
    for value in values:
        parts += (struct.pack("!i", len(value)), value)
    return b"".join(parts)


def texts(values: Sequence[str]) -> str:
    """A text[] literal."""
    if not values:
        return "{}"
    # Most ids need no quotes, which an array of arrays has to escape once more; to find that out pays for longer lists.
    if len(values) > SHORT and is_plain(bare := ",".join(values), len(values)):
        return f"{{{bare}}}"
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') > 2 * (len(values) - 1):
        joined = '","'.join([value.replace("\\", "\\\\").replace('"', '\\"') for value in values])
    return f'{{"{joined}"}}'


def is_plain(joined: str, count: int) -> bool:
    """Whether so many texts, joined by commas, are read back as they are: of such letters, none empty, none like NULL."""
    return (
        joined.isascii()
        and not joined.encode().translate(None, PLAIN)
        and joined.count(",") == count - 1
        and ",," not in joined
        and joined[:1] not in ("", ",")
        and joined[-1] != ","
        and "null" not in joined.lower()
    )


def optional_texts(values: Sequence[Any]) -> str:
    """A text[] literal of any values, NULL for None."""
    if None not in values:
        return texts([*map(str, values)])
    return f"{{{','.join(['NULL' if value is None else texts([str(value)])[1:-1] for value in values])}}}"


def numbers(values: Sequence[int] | NDArray[Any]) -> str:
    """The literal of an array of finite numbers or booleans, which are written as in JSON: no digit is lost."""
    return f"{{{orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode()}}}"


def places(candidates: Sequence[str], shown: Sequence[str]) -> list[int]:
    """Index of each shown article among the candidates, which are distinct."""
    index = {article_id: place for place, article_id in enumerate(candidates)}
    try:
        return [index[article_id] for article_id in shown]
    except KeyError as error:
        raise CorruptCheckpoint(f"article {error} was shown but was no candidate") from error


def floats(data: bytes) -> Floats:
    return np.frombuffer(data, "<f4").astype(np.float32, copy=False)


def frozen(values: Sequence[Any], dtype: type[Any]) -> NDArray[Any]:
    array = np.array(values, dtype)
    array.flags.writeable = False
    return array
