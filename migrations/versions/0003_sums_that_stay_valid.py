"""What tests that are watched continuously need: a duel's sums over readers and slots, and the hold-back's comparison."""

from alembic import op

revision = "0003"
down_revision = "0002"

# A version from before carries no comparison (`{}`): the first version after this one begins it. A running duel begins its
# sums where it stands.
STATEMENTS = """
ALTER TABLE model_versions ADD COLUMN holdback jsonb NOT NULL DEFAULT '{}'::jsonb;
ALTER TABLE duels
    ADD COLUMN units bigint NOT NULL DEFAULT 0,
    ADD COLUMN unit_total double precision NOT NULL DEFAULT 0,
    ADD COLUMN unit_squares double precision NOT NULL DEFAULT 0,
    ADD COLUMN chance_total double precision NOT NULL DEFAULT 0,
    ADD COLUMN chance_squares double precision NOT NULL DEFAULT 0;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS)
