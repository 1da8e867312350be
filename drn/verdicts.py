"""What a duel's running sums prove while somebody watches: harm by explore, and whether the duel itself was fair.

The unit of harm is a reader within one minor update. A whole session would be better still, but then every version had to
carry the readers whose sessions are open; what is left of their likeness when a session spans two updates does no harm to
the test: each list is drawn anew, so under the null a unit is 0 on average given everything before it.

What a harmful explore network can cost is bounded in two ways, whatever the window says. On every path: while it serves,
the credit that it has lost, −Σx over settled units, is below min_λ (log(stakes/α) + ψ(λ)·Σx²)/λ. On average: units of mean
−μ and mean square v are reset after at most `statistics.units_to_alarm(μ, v, α)` of them (scores reversed: 19 readers who
click; docs/statistics.md). What was served meanwhile without being settled (`feedback_window` + `minor_period`) comes on top.
"""

from dataclasses import replace

import numpy as np

from drn.config import Config
from drn.statistics import Doubles, evidence, evidence_of_difference
from drn.types import DuelState

# A fault of the machine is looked for as long as the line goes on, so an alarm in vain must be rarer than one of a duel.
FAULT_ALPHA = 1e-3


def watch(duel: DuelState, units: Doubles, chances: Doubles) -> DuelState:
    """The duel with what readers said added to its sums.

    Args:
        units: (t,) of `statistics.reader_units`
        chances: (m,) of `statistics.chances`
    """
    return replace(
        duel,
        units=duel.units + len(units),
        unit_total=duel.unit_total + float(units.sum()),
        unit_squares=duel.unit_squares + float((units**2).sum()),
        chance_total=duel.chance_total + float(chances.sum()),
        chance_squares=duel.chance_squares + float((chances**2).sum()),
    )


def follow(duel: DuelState, version_id: int) -> DuelState:
    """The duel that `version_id` opens after this one. Chances are counted on; a rollback or a new line counts anew."""
    return DuelState(version_id, chance_total=duel.chance_total, chance_squares=duel.chance_squares)


def harmful(duel: DuelState, config: Config) -> bool:
    """Whether readers have proven, watched at every update, that explore is worse. In vain in at most α of all duels."""
    return bool(evidence(-duel.unit_total, duel.unit_squares) >= -np.log(config.duel_harm_alpha))


def unequal(duel: DuelState) -> bool:
    """Whether the two networks are proven not to have had equal chances, at any look since the check began."""
    return bool(evidence_of_difference(duel.chance_total, duel.chance_squares) >= -np.log(FAULT_ALPHA))
