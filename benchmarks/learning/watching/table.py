"""The table of docs/statistics.md: what is found, after how much, and how often in vain. Seeded: the same numbers each time."""

from collections.abc import Iterator

import numpy as np

from benchmarks.learning.watching.duels import Duel, null_duels, slightly_worse
from benchmarks.learning.watching.halves import lists_to_rollback, rollbacks
from benchmarks.learning.watching.harm import until_reset
from drn.config import Config
from drn.statistics import Alternative, e_process, first_alarm, units_to_alarm

DUELS, IMPRESSIONS = 1_000, 2_000
CONFIG = Config()


def false_alarms(alternative: Alternative, seed: int = 1) -> int:
    """Of 1,000 null duels, each looked at after every reader, those that raise an alarm."""
    rng = np.random.default_rng(seed)
    pairs = null_duels(rng, 20)
    watched = (pairs[i % len(pairs)].watch(rng, IMPRESSIONS)[0] for i in range(DUELS))
    return sum(first_alarm(e_process(units, alternative), CONFIG.duel_harm_alpha) is not None for units in watched)


def impressions_to_alarm(duel: Duel, number: int, most: int, seed: int = 2) -> list[int | None]:
    """After how many impressions each of these duels is seen to be lost."""
    rng, needed = np.random.default_rng(seed), []
    for _ in range(number):
        units, after = duel.watch(rng, most)
        alarm = first_alarm(e_process(units, "less"), CONFIG.duel_harm_alpha)
        needed.append(None if alarm is None else int(after[alarm - 1]))
    return needed


def rows() -> Iterator[tuple[str, str]]:
    """What was simulated, and what came of it."""
    yield f"false alarms of harm, {DUELS:,} null duels of {IMPRESSIONS:,} impressions", f"{false_alarms('less')}"
    yield f"false alarms in either direction, {DUELS:,} null duels", f"{false_alarms('different')}"
    yield (
        "explore whose own lists get 2 % fewer clicks: impressions until it is caught",
        spread(impressions_to_alarm(slightly_worse(), 100, 60_000)),
    )
    rng = np.random.default_rng(3)
    resets = [until_reset(rng, CONFIG) for _ in range(100)]
    bounds = [units_to_alarm(-one.mean, one.square, CONFIG.duel_harm_alpha) for one in resets]
    yield "scores reversed, 100 candidates: impressions until explore is reset", spread([one.impressions for one in resets])
    yield "… readers who clicked until then: the units", spread([one.duel.units for one in resets])
    units = np.mean([one.duel.units for one in resets])
    yield "… their mean number, and the bound on it", f"{units:.1f} ≤ {np.mean(bounds):.1f}"
    yield "… clicks lost until then, against current alone", spread([one.lost for one in resets], 1)
    alpha = CONFIG.rollback_alpha
    rng = np.random.default_rng(4)
    yield f"false rollbacks, {DUELS:,} periods of 5,000 held-back lists", f"{rollbacks(rng, DUELS, 5_000, alpha)}"
    yield "… if readers were held back instead of lists (200 readers)", f"{rollbacks(rng, DUELS, 5_000, alpha, by_reader=True)}"
    for loss in (0.5, 0.2, 0.1):
        needed = lists_to_rollback(rng, 100, 40_000, alpha, loss)
        yield f"current loses {loss:.0%} of the lists with a click: held-back lists until it is rolled back", spread(needed)


def spread(numbers: "list[int | None] | list[int] | list[float]", places: int = 0) -> str:
    """Median, and the largest."""
    found = [number for number in numbers if number is not None]
    missed = f"; {len(numbers) - len(found)} of {len(numbers)} not found" if len(found) < len(numbers) else ""
    return f"median {np.median(found):,.{places}f}, at most {max(found):,.{places}f}{missed}"


def markdown() -> str:
    lines = [f"| {name} | {value} |" for name, value in rows()]
    return "\n".join(["| simulated | result |", "|---|---|", *lines]) + "\n"
