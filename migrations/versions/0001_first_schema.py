"""The first schema: articles, the log, the version line, duels, runs, keys, erasures."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE SEQUENCE article_revision AS bigint;
CREATE SEQUENCE impression_seq AS bigint;
CREATE SEQUENCE feedback_seq AS bigint;
CREATE SEQUENCE job_run_id AS bigint;
CREATE SEQUENCE erasure_id AS bigint;

CREATE TABLE articles (
    id text NOT NULL,
    revision bigint NOT NULL,
    title text NOT NULL,
    published_at timestamptz NOT NULL,
    abstract text NOT NULL,
    provider text,
    category text,
    topics text[] NOT NULL,
    entities text[] NOT NULL,
    expires_at timestamptz,
    embargo_until timestamptz,
    url text,
    embedding bytea,
    stored_at timestamptz NOT NULL,
    withdrawn_at timestamptz,
    CONSTRAINT articles_pkey PRIMARY KEY (id),
    CONSTRAINT articles_revision_key UNIQUE (revision)
);

CREATE TABLE requests (
    request_id text NOT NULL,
    seq bigint NOT NULL DEFAULT nextval('impression_seq'),
    at timestamptz NOT NULL,
    CONSTRAINT requests_pkey PRIMARY KEY (request_id)
);

CREATE TABLE impressions (
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    request_id text NOT NULL,
    user_id text,
    version_id bigint NOT NULL,
    seed numeric(39, 0) NOT NULL,
    k integer NOT NULL,
    explore boolean NOT NULL,
    device text NOT NULL,
    surface text NOT NULL,
    pin_ids text[] NOT NULL,
    pin_positions integer[] NOT NULL,
    candidates text[] NOT NULL,
    observation bytea NOT NULL,
    current_scores bytea NOT NULL,
    explore_scores bytea NOT NULL,
    shown text[] NOT NULL,
    credit real[] NOT NULL,
    propensity real[] NOT NULL,
    pinned boolean[] NOT NULL,
    unknown text[] NOT NULL,
    fallback text,
    writer text NOT NULL,
    CONSTRAINT impressions_pkey PRIMARY KEY (seq, at),
    CONSTRAINT impressions_pins_check CHECK (cardinality(pin_ids) = cardinality(pin_positions)),
    CONSTRAINT impressions_slots_check CHECK (
        cardinality(shown) = cardinality(credit) AND cardinality(shown) = cardinality(propensity)
        AND cardinality(shown) = cardinality(pinned)
    ),
    CONSTRAINT impressions_current_scores_check CHECK (octet_length(current_scores) = 4 * cardinality(candidates)),
    CONSTRAINT impressions_explore_scores_check CHECK (octet_length(explore_scores) = 4 * cardinality(candidates)),
    CONSTRAINT impressions_positive_check CHECK (k > 0 AND seed >= 0)
) PARTITION BY RANGE (at);
-- Compressing packed features costs more than the rest of the insert and saves a quarter at best.
ALTER TABLE impressions ALTER COLUMN observation SET STORAGE EXTERNAL;
CREATE INDEX impressions_user_id_at_index ON impressions (user_id, at) WHERE user_id IS NOT NULL;
CREATE INDEX impressions_at_index ON impressions (at);

CREATE TABLE feedback (
    seq bigint NOT NULL DEFAULT nextval('feedback_seq'),
    event_id text NOT NULL,
    request_id text,
    article_id text NOT NULL,
    user_id text,
    type text NOT NULL,
    at timestamptz NOT NULL,
    value double precision,
    received_at timestamptz NOT NULL,
    writer text NOT NULL,
    CONSTRAINT feedback_pkey PRIMARY KEY (seq),
    CONSTRAINT feedback_event_id_key UNIQUE (event_id),
    CONSTRAINT feedback_request_id_fkey FOREIGN KEY (request_id) REFERENCES requests (request_id) ON DELETE SET NULL,
    CONSTRAINT feedback_past_check CHECK (at <= received_at)
);
CREATE INDEX feedback_request_id_index ON feedback (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX feedback_user_id_at_seq_index ON feedback (user_id, at, seq) WHERE user_id IS NOT NULL;
CREATE INDEX feedback_at_index ON feedback (at);

-- Every insert into the log shares one lock until it commits, taken before its rows get their numbers. Whoever takes
-- that lock alone therefore sees every number below the highest one (service.store.impressions.horizon). A lock on the
-- tables themselves would do the same, but would also throw out autovacuum each time.
CREATE FUNCTION share_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(6582894, 3);
    RETURN NULL;
END $$;
CREATE TRIGGER share_log BEFORE INSERT ON requests FOR EACH STATEMENT EXECUTE FUNCTION share_log();
CREATE TRIGGER share_log BEFORE INSERT ON feedback FOR EACH STATEMENT EXECUTE FUNCTION share_log();

CREATE TABLE weights (
    digest text NOT NULL,
    data bytea,
    pruned_at timestamptz,
    CONSTRAINT weights_pkey PRIMARY KEY (digest),
    CONSTRAINT weights_pruned_check CHECK ((data IS NULL) = (pruned_at IS NOT NULL))
);
-- Trained float32 does not compress; trying costs time on every version.
ALTER TABLE weights ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE model_versions (
    id bigint NOT NULL,
    parent_id bigint,
    kind text NOT NULL,
    created_at timestamptz NOT NULL,
    current_digest text NOT NULL,
    explore_digest text NOT NULL,
    memory_digest text NOT NULL,
    duel jsonb NOT NULL,
    watermark bigint NOT NULL,
    config text NOT NULL,
    schema text NOT NULL,
    metrics jsonb NOT NULL,
    digest text NOT NULL,
    CONSTRAINT model_versions_pkey PRIMARY KEY (id),
    CONSTRAINT model_versions_parent_id_key UNIQUE (parent_id),
    CONSTRAINT model_versions_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES model_versions (id),
    CONSTRAINT model_versions_current_digest_fkey FOREIGN KEY (current_digest) REFERENCES weights (digest),
    CONSTRAINT model_versions_explore_digest_fkey FOREIGN KEY (explore_digest) REFERENCES weights (digest),
    CONSTRAINT model_versions_memory_digest_fkey FOREIGN KEY (memory_digest) REFERENCES weights (digest),
    CONSTRAINT model_versions_kind_check CHECK (kind IN ('initial', 'minor', 'major', 'rollback')),
    CONSTRAINT model_versions_line_check CHECK ((id = 1 AND parent_id IS NULL) OR (id > 1 AND parent_id = id - 1)),
    CONSTRAINT model_versions_watermark_check CHECK (watermark >= 0)
);
CREATE INDEX model_versions_current_digest_index ON model_versions (current_digest);
CREATE INDEX model_versions_explore_digest_index ON model_versions (explore_digest);
CREATE INDEX model_versions_memory_digest_index ON model_versions (memory_digest);

CREATE TABLE duels (
    id bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    verdict text NOT NULL DEFAULT 'undecided',
    impressions bigint NOT NULL,
    wins bigint NOT NULL,
    losses bigint NOT NULL,
    total double precision NOT NULL,
    squares double precision NOT NULL,
    CONSTRAINT duels_pkey PRIMARY KEY (id),
    CONSTRAINT duels_id_fkey FOREIGN KEY (id) REFERENCES model_versions (id),
    CONSTRAINT duels_verdict_check CHECK (verdict IN ('undecided', 'explore_won', 'current_won', 'abandoned')),
    CONSTRAINT duels_closed_check CHECK ((closed_at IS NULL) = (verdict = 'undecided'))
);
CREATE UNIQUE INDEX duels_one_open ON duels ((closed_at IS NULL)) WHERE closed_at IS NULL;

CREATE TABLE duel_outcomes (
    request_id text NOT NULL,
    at timestamptz NOT NULL,
    duel_id bigint NOT NULL,
    version_id bigint NOT NULL,
    user_id text,
    clicks integer NOT NULL,
    outcome double precision NOT NULL,
    CONSTRAINT duel_outcomes_pkey PRIMARY KEY (request_id),
    CONSTRAINT duel_outcomes_duel_id_fkey FOREIGN KEY (duel_id) REFERENCES duels (id),
    CONSTRAINT duel_outcomes_version_id_fkey FOREIGN KEY (version_id) REFERENCES model_versions (id),
    CONSTRAINT duel_outcomes_clicks_check CHECK (clicks >= 0)
);
CREATE INDEX duel_outcomes_duel_id_at_index ON duel_outcomes (duel_id, at);
CREATE INDEX duel_outcomes_at_index ON duel_outcomes (at);
CREATE INDEX duel_outcomes_user_id_index ON duel_outcomes (user_id) WHERE user_id IS NOT NULL;

CREATE TABLE job_runs (
    id bigint NOT NULL DEFAULT nextval('job_run_id'),
    job text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    outcome text NOT NULL DEFAULT 'running',
    version_id bigint,
    detail jsonb NOT NULL DEFAULT '{}'::jsonb,
    CONSTRAINT job_runs_pkey PRIMARY KEY (id),
    CONSTRAINT job_runs_version_id_fkey FOREIGN KEY (version_id) REFERENCES model_versions (id),
    CONSTRAINT job_runs_outcome_check CHECK (outcome IN ('running', 'published', 'done', 'skipped', 'failed')),
    CONSTRAINT job_runs_ended_check CHECK ((ended_at IS NULL) = (outcome = 'running'))
);
CREATE INDEX job_runs_job_started_at_index ON job_runs (job, started_at);
CREATE INDEX job_runs_started_at_index ON job_runs (started_at);

CREATE TABLE api_keys (
    id text NOT NULL,
    name text NOT NULL,
    hash text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_hash_key UNIQUE (hash),
    CONSTRAINT api_keys_hash_check CHECK (length(hash) = 64),
    CONSTRAINT api_keys_scopes_check CHECK (cardinality(scopes) > 0)
);

CREATE TABLE erasures (
    id bigint NOT NULL DEFAULT nextval('erasure_id'),
    at timestamptz NOT NULL,
    salt bytea NOT NULL,
    reader bytea NOT NULL,
    impressions bigint NOT NULL,
    feedback bigint NOT NULL,
    outcomes bigint NOT NULL,
    CONSTRAINT erasures_pkey PRIMARY KEY (id),
    CONSTRAINT erasures_salt_key UNIQUE (salt)
);
"""


def upgrade() -> None:
    # The driver's own cursor: a script of several statements, in which ":" and "%" mean nothing.
    op.get_bind().exec_driver_sql(STATEMENTS)
