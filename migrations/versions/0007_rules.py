"""What editors have set for every list, or for those of one surface: pins, caps and boosts; and the boosts of each list."""

from alembic import op

revision = "0007"
down_revision = "0006"

# All lists wait for the new column's lock, as for 0005's. It is asked for last, so that it is held while nothing else is
# waited for, and only for a moment: a default that is a constant is not written into the rows, and a check of them all is
# not asked for, since whoever reads a list compares the lengths.
STATEMENTS = """
SET LOCAL lock_timeout = '2s';
CREATE SEQUENCE rule_id AS bigint;
CREATE TABLE rules (
    id bigint NOT NULL DEFAULT nextval('rule_id'),
    kind text NOT NULL,
    article_id text NOT NULL,
    surface text,
    position integer,
    most integer,
    boost double precision,
    created_at timestamptz NOT NULL,
    ends_at timestamptz,
    ended_at timestamptz,
    CONSTRAINT rules_pkey PRIMARY KEY (id),
    CONSTRAINT rules_article_id_fkey FOREIGN KEY (article_id) REFERENCES articles (id),
    CONSTRAINT rules_kind_check CHECK (kind IN ('pin', 'cap', 'boost')),
    CONSTRAINT rules_pin_check CHECK ((kind = 'pin') = (position IS NOT NULL)),
    CONSTRAINT rules_cap_check CHECK ((kind = 'cap') = (most IS NOT NULL)),
    CONSTRAINT rules_boosted_check CHECK ((kind = 'boost') = (boost IS NOT NULL)),
    CONSTRAINT rules_position_check CHECK (position BETWEEN 0 AND 99),
    CONSTRAINT rules_most_check CHECK (most BETWEEN 1 AND 65535),
    CONSTRAINT rules_boost_check CHECK (boost BETWEEN -100 AND 100 AND boost <> 0),
    CONSTRAINT rules_surface_check CHECK (surface <> ''),
    CONSTRAINT rules_ends_check CHECK (ends_at > created_at),
    CONSTRAINT rules_ended_check CHECK (ended_at >= created_at)
);
CREATE UNIQUE INDEX rules_one_for_an_article ON rules (article_id, kind, surface) NULLS NOT DISTINCT WHERE ended_at IS NULL;
CREATE UNIQUE INDEX rules_one_pin_at_a_place ON rules (position, surface) NULLS NOT DISTINCT
    WHERE kind = 'pin' AND ended_at IS NULL;

ALTER TABLE impressions ADD COLUMN boosts bytea NOT NULL DEFAULT '';
ALTER TABLE impressions ALTER COLUMN boosts SET STATISTICS 0;
"""

# Lists that were boosted cannot be derived again behind this.
BACK = """
SET LOCAL lock_timeout = '2s';
DROP TABLE rules;
DROP SEQUENCE rule_id;
ALTER TABLE impressions DROP COLUMN boosts;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(STATEMENTS)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(BACK)
