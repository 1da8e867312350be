"""Counts by the buckets of each window in the place of hours, so that a start does not add up a year of them."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = """
SET LOCAL lock_timeout = '2s';
LOCK TABLE hourly_counts, hourly_counts_end IN ACCESS EXCLUSIVE MODE;
CREATE TABLE bucket_counts (
    kind text NOT NULL,
    length bigint NOT NULL,
    bucket bigint NOT NULL,
    article_id text NOT NULL,
    times bigint NOT NULL,
    CONSTRAINT bucket_counts_pkey PRIMARY KEY (kind, length, bucket, article_id),
    CONSTRAINT bucket_counts_kind_check CHECK (kind IN ('clicks', 'exposures'))
);
INSERT INTO bucket_counts (kind, length, bucket, article_id, times)
SELECT kind, length, hour * 3600 / length, article_id, sum(times)
FROM hourly_counts, unnest('{3600,25200,1314000}'::bigint[]) AS length GROUP BY 1, 2, 3, 4;
CREATE TABLE bucket_counts_end (
    single boolean NOT NULL DEFAULT true,
    impressions bigint NOT NULL,
    feedback bigint NOT NULL,
    CONSTRAINT bucket_counts_end_pkey PRIMARY KEY (single),
    CONSTRAINT bucket_counts_end_single_check CHECK (single)
);
INSERT INTO bucket_counts_end (impressions, feedback) SELECT impressions, feedback FROM hourly_counts_end;
DROP TABLE hourly_counts, hourly_counts_end;
"""

# The hours are counted anew, as far as the log still goes back.
BACK = """
SET LOCAL lock_timeout = '2s';
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
DROP TABLE bucket_counts, bucket_counts_end;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(BACK)
