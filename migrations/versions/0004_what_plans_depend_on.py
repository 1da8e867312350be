"""ANALYZE looks only at the columns of impressions that a plan depends on; the days that follow are made so."""

from alembic import op

revision = "0004"
down_revision = "0003"

# Autovacuum analyses a busy day about once a minute, and nine tenths of that went into what lists are made of.
COLUMNS = (
    "seed, k, explore, device, surface, pin_ids, pin_positions, candidates, observation, current_scores, explore_scores,"
    " shown, credit, propensity, pinned, unknown, fallback"
)


def upgrade() -> None:
    columns = ", ".join(f"ALTER COLUMN {name} SET STATISTICS 0" for name in COLUMNS.split(", "))
    op.get_bind().exec_driver_sql(f"ALTER TABLE impressions {columns}")
