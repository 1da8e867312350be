"""The tables as this release expects them; `migrations/` makes them, and a test compares the two."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_index",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

Time = DateTime(timezone=True)

article_revision = Sequence("article_revision", metadata=metadata, data_type=BigInteger)
impression_seq = Sequence("impression_seq", metadata=metadata, data_type=BigInteger)
feedback_seq = Sequence("feedback_seq", metadata=metadata, data_type=BigInteger)

articles = Table(
    "articles",
    metadata,
    Column("id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False, unique=True),  # grows with every change; API processes follow it
    Column("title", Text, nullable=False),
    Column("published_at", Time, nullable=False),
    Column("abstract", Text, nullable=False),
    Column("provider", Text),
    Column("category", Text),
    Column("topics", ARRAY(Text), nullable=False),
    Column("entities", ARRAY(Text), nullable=False),
    Column("expires_at", Time),
    Column("embargo_until", Time),
    Column("url", Text),
    Column("embedding", LargeBinary),  # little-endian float64: what the CMS sent, to the last bit
    Column("stored_at", Time, nullable=False),
    Column("withdrawn_at", Time),
)

# The registry of request ids, and the place where an impression gets its number: `impressions` is partitioned by
# day and therefore cannot hold a key over all days. (seq, at) leads to the impression without a search.
requests = Table(
    "requests",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False, server_default=impression_seq.next_value()),
    Column("at", Time, nullable=False),
)

impressions = Table(
    "impressions",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Time, primary_key=True),
    Column("request_id", Text, nullable=False),
    Column("user_id", Text),
    # No foreign key: every writer would lock the same version row for every impression.
    Column("version_id", BigInteger, nullable=False),
    Column("seed", Numeric(39, 0), nullable=False),
    Column("k", Integer, nullable=False),
    Column("explore", Boolean, nullable=False),
    Column("device", Text, nullable=False),
    Column("surface", Text, nullable=False),
    Column("pin_ids", ARRAY(Text), nullable=False),
    Column("pin_positions", ARRAY(Integer), nullable=False),
    Column("candidates", ARRAY(Text), nullable=False),
    Column("observation", LargeBinary, nullable=False),  # drn.packing.pack
    Column("current_scores", LargeBinary, nullable=False),  # little-endian float32
    Column("explore_scores", LargeBinary, nullable=False),
    Column("shown", ARRAY(Text), nullable=False),
    Column("credit", ARRAY(REAL), nullable=False),
    Column("propensity", ARRAY(REAL), nullable=False),
    Column("pinned", ARRAY(Boolean), nullable=False),
    Column("unknown", ARRAY(Text), nullable=False),
    Column("fallback", Text),
    Column("writer", Text, nullable=False),  # the process that wrote it: it has it in memory already
    Column("boosts", LargeBinary, nullable=False, server_default=text("''::bytea")),  # little-endian float32; empty: none
    CheckConstraint("cardinality(pin_ids) = cardinality(pin_positions)", name="pins"),
    CheckConstraint(
        "cardinality(shown) = cardinality(credit) AND cardinality(shown) = cardinality(propensity)"
        " AND cardinality(shown) = cardinality(pinned)",
        name="slots",
    ),
    CheckConstraint("octet_length(current_scores) = 4 * cardinality(candidates)", name="current_scores"),
    CheckConstraint("octet_length(explore_scores) = 4 * cardinality(candidates)", name="explore_scores"),
    CheckConstraint("k > 0 AND seed >= 0", name="positive"),
    Index(None, "user_id", "at", postgresql_where=text("user_id IS NOT NULL")),
    Index(None, "at"),
    postgresql_partition_by="RANGE (at)",
)

feedback = Table(
    "feedback",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False, server_default=feedback_seq.next_value()),
    Column("event_id", Text, nullable=False, unique=True),
    # One of `requests`, as triggers see to. When retention drops an old impression, its clicks stay in histories and counters
    # as organic reading.
    Column("request_id", Text),
    Column("article_id", Text, nullable=False),
    Column("user_id", Text),
    Column("type", Text, nullable=False),
    Column("at", Time, nullable=False),
    Column("value", Double),
    Column("received_at", Time, nullable=False),
    Column("writer", Text, nullable=False),
    CheckConstraint("at <= received_at", name="past"),
    Index(None, "request_id", postgresql_where=text("request_id IS NOT NULL")),
    Index(None, "user_id", "at", "seq", postgresql_where=text("user_id IS NOT NULL")),
    Index(None, "at"),
)

# What the log says up to `bucket_counts_end`, by buckets of so many seconds since 1970.
bucket_counts = Table(
    "bucket_counts",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("length", BigInteger, primary_key=True, autoincrement=False),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("article_id", Text, primary_key=True),
    Column("times", BigInteger, nullable=False),
    CheckConstraint("kind IN ('clicks', 'exposures')", name="kind"),
)

bucket_counts_end = Table(
    "bucket_counts_end",
    metadata,
    Column("single", Boolean, primary_key=True, server_default=text("true")),
    Column("impressions", BigInteger, nullable=False),
    Column("feedback", BigInteger, nullable=False),
    CheckConstraint("single", name="single"),
)

weights = Table(
    "weights",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("data", LargeBinary),  # safetensors; NULL once pruned
    Column("pruned_at", Time),
    CheckConstraint("(data IS NULL) = (pruned_at IS NOT NULL)", name="pruned"),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("parent_id", BigInteger, ForeignKey("model_versions.id"), unique=True),  # a line, never a tree
    Column("kind", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("current_digest", Text, ForeignKey("weights.digest"), nullable=False, index=True),
    Column("explore_digest", Text, ForeignKey("weights.digest"), nullable=False, index=True),
    Column("memory_digest", Text, ForeignKey("weights.digest"), nullable=False, index=True),
    Column("duel", JSONB, nullable=False),  # the running score as of this version; `duels` holds the latest
    Column("watermark", BigInteger, nullable=False),
    Column("config", Text, nullable=False),  # drn.config.Config.to_json, byte for byte: it has a digest
    Column("schema", Text, nullable=False),
    Column("metrics", JSONB, nullable=False),
    Column("digest", Text, nullable=False),
    Column("holdback", JSONB, nullable=False, server_default=text("'{}'::jsonb")),  # drn.types.HoldbackState as of this version
    CheckConstraint("kind IN ('initial', 'minor', 'major', 'rollback')", name="kind"),
    CheckConstraint("(id = 1 AND parent_id IS NULL) OR (id > 1 AND parent_id = id - 1)", name="line"),
    CheckConstraint("watermark >= 0", name="watermark"),
)

duels = Table(
    "duels",
    metadata,
    Column("id", BigInteger, ForeignKey("model_versions.id"), primary_key=True, autoincrement=False),
    Column("opened_at", Time, nullable=False),
    Column("closed_at", Time),
    Column("verdict", Text, nullable=False, server_default="undecided"),
    Column("impressions", BigInteger, nullable=False),
    Column("wins", BigInteger, nullable=False),
    Column("losses", BigInteger, nullable=False),
    Column("total", Double, nullable=False),
    Column("squares", Double, nullable=False),
    Column("units", BigInteger, nullable=False, server_default=text("0")),
    Column("unit_total", Double, nullable=False, server_default=text("0")),
    Column("unit_squares", Double, nullable=False, server_default=text("0")),
    Column("chance_total", Double, nullable=False, server_default=text("0")),
    Column("chance_squares", Double, nullable=False, server_default=text("0")),
    CheckConstraint("verdict IN ('undecided', 'explore_won', 'current_won', 'abandoned')", name="verdict"),
    CheckConstraint("(closed_at IS NULL) = (verdict = 'undecided')", name="closed"),
    Index("duels_one_open", text("(closed_at IS NULL)"), unique=True, postgresql_where=text("closed_at IS NULL")),
)

# The key is what makes learning exactly-once: an impression that was settled cannot be settled again.
duel_outcomes = Table(
    "duel_outcomes",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("at", Time, nullable=False),
    Column("duel_id", BigInteger, ForeignKey("duels.id"), nullable=False),
    Column("version_id", BigInteger, ForeignKey("model_versions.id"), nullable=False),  # the version that it led to
    Column("user_id", Text),
    Column("clicks", Integer, nullable=False),
    Column("outcome", Double, nullable=False),
    CheckConstraint("clicks >= 0", name="clicks"),
    Index(None, "duel_id", "at"),
    Index(None, "at"),
    Index(None, "user_id", postgresql_where=text("user_id IS NOT NULL")),
)

job_runs = Table(
    "job_runs",
    metadata,
    Column(
        "id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        server_default=Sequence("job_run_id", metadata=metadata).next_value(),
    ),
    Column("job", Text, nullable=False),
    Column("started_at", Time, nullable=False),
    Column("ended_at", Time),
    Column("outcome", Text, nullable=False, server_default="running"),
    Column("version_id", BigInteger, ForeignKey("model_versions.id")),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    CheckConstraint("outcome IN ('running', 'published', 'done', 'skipped', 'failed')", name="outcome"),
    CheckConstraint("(ended_at IS NULL) = (outcome = 'running')", name="ended"),
    Index(None, "job", "started_at"),
    Index(None, "started_at"),
)

# A rule is never deleted, only ended. One whose `ends_at` is over holds no more, whether or not that is on record yet.
rules = Table(
    "rules",
    metadata,
    Column(
        "id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        server_default=Sequence("rule_id", metadata=metadata, data_type=BigInteger).next_value(),
    ),
    Column("kind", Text, nullable=False),
    Column("article_id", Text, ForeignKey("articles.id"), nullable=False),
    Column("surface", Text),  # NULL: every surface
    Column("position", Integer),  # of a pin
    Column("most", Integer),  # of a cap: times that the article is shown to one reader; they are counted in 16 bits
    Column("boost", Double),  # what is added to the article's scores
    Column("created_at", Time, nullable=False),
    Column("ends_at", Time),
    Column("ended_at", Time),
    CheckConstraint("kind IN ('pin', 'cap', 'boost')", name="kind"),
    CheckConstraint("(kind = 'pin') = (position IS NOT NULL)", name="pin"),
    CheckConstraint("(kind = 'cap') = (most IS NOT NULL)", name="cap"),
    CheckConstraint("(kind = 'boost') = (boost IS NOT NULL)", name="boosted"),
    CheckConstraint("position BETWEEN 0 AND 99", name="position"),
    CheckConstraint("most BETWEEN 1 AND 65535", name="most"),
    CheckConstraint("boost BETWEEN -100 AND 100 AND boost <> 0", name="boost"),
    CheckConstraint("surface <> ''", name="surface"),
    CheckConstraint("ends_at > created_at", name="ends"),
    CheckConstraint("ended_at >= created_at", name="ended"),
    Index(
        "rules_one_for_an_article",
        "article_id",
        "kind",
        "surface",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index(
        "rules_one_pin_at_a_place",
        "position",
        "surface",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("kind = 'pin' AND ended_at IS NULL"),
    ),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),  # sha256 of 32 random bytes: nothing to guess, no salt needed
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", Time, nullable=False),
    Column("revoked_at", Time),
    CheckConstraint("length(hash) = 64", name="hash"),
    CheckConstraint("cardinality(scopes) > 0", name="scopes"),
)

erasures = Table(
    "erasures",
    metadata,
    Column(
        "id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        server_default=Sequence("erasure_id", metadata=metadata).next_value(),
    ),
    Column("at", Time, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("reader", LargeBinary, nullable=False),  # sha256(salt + user id): the holder of both can check the receipt
    Column("impressions", BigInteger, nullable=False),
    Column("feedback", BigInteger, nullable=False),
    Column("outcomes", BigInteger, nullable=False),
    UniqueConstraint("salt"),
)
