"""Clicks and exposures counted by the hour, so that a starting process need not read a year of the log."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = """
CREATE TABLE hourly_counts (
    kind text NOT NULL,
    hour bigint NOT NULL,
    article_id text NOT NULL,
    times bigint NOT NULL,
    CONSTRAINT hourly_counts_pkey PRIMARY KEY (kind, hour, article_id),
    CONSTRAINT hourly_counts_kind_check CHECK (kind IN ('clicks', 'exposures'))
);
CREATE TABLE hourly_counts_end (
    single boolean NOT NULL DEFAULT true,
    impressions bigint NOT NULL,
    feedback bigint NOT NULL,
    CONSTRAINT hourly_counts_end_pkey PRIMARY KEY (single),
    CONSTRAINT hourly_counts_end_single_check CHECK (single)
);
INSERT INTO hourly_counts_end (impressions, feedback) VALUES (0, 0);
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS)
