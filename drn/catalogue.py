"""Articles as rows of arrays: encoded content, life span, and counts in sliding windows. A cache of the log, rebuilt at start."""

import hashlib
import math
import re
from collections.abc import Sequence, Set
from datetime import datetime
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drn.config import Config
from drn.errors import InvalidInput
from drn.ids import IdTable
from drn.kernels import live_and_distinct
from drn.types import Article, Bools, Floats, Ints
from drn.windows import BUCKETS, SlidingCounts, extended

WINDOWS = (600, 3_600, 21_600, 86_400, 604_800, 31_536_000)  # seconds: 10 min, then 1 h, 6 h, 24 h, 1 week, 1 year  [DRN §4.1]
READER_WINDOWS = WINDOWS[1:]  # the paper's five, in which a reader's clicks are counted
LENGTHS = tuple(window // BUCKETS for window in WINDOWS)  # seconds per bucket
DAY = WINDOWS.index(86_400)  # the window in which a whole category's clicks are counted
PUBLISHED, LIVE_FROM, LIVE_UNTIL = range(3)  # columns of an article's times, in seconds since 1970; withdrawn ones lived until 0
TIMES = 3
FOREVER = np.iinfo(np.int64).max
WORD = re.compile(r"\w{3,}")
LONG_WORD = re.compile(r"\w{5,}")
STEM = 6  # letters of a word that count: inflections of one word mostly agree in them
STEMS = 32  # different stems of an article's title and abstract that are kept, as 16 bits of hash each

Kind: TypeAlias = Literal["clicks", "exposures"]
KINDS: tuple[Kind, Kind] = ("clicks", "exposures")


def epoch(at: datetime) -> int:
    """Whole seconds since 1970, rounded down. Raises InvalidInput for a time without a zone."""
    if at.tzinfo is None:
        raise InvalidInput(f"{at.isoformat()} has no time zone")
    return int(at.timestamp() // 1)


def epoch_rounded_up(at: datetime) -> int:
    """Whole seconds since 1970, rounded up. Raises InvalidInput for a time without a zone."""
    if at.tzinfo is None:
        raise InvalidInput(f"{at.isoformat()} has no time zone")
    return math.ceil(at.timestamp())


class Catalogue:
    """Every article known, by row. Rows are never reused; a withdrawn article keeps its row for readers' histories."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.slots = config.content_slots  # C
        self.categories = config.category_slots + 1  # the last one: none
        self._rows = IdTable()
        self._articles: list[Article] = []
        self._ids: list[str] = []
        self.edits = 0  # grows when an article's content changes, so that what was made of it can be thrown away
        self.content: NDArray[np.uint16] = np.empty((0, sum(column_counts(config))), np.uint16)  # (rows, M)
        self.content_revision: NDArray[np.int32] = np.empty(0, np.int32)  # (rows,): grows when a row is encoded anew
        self.category: NDArray[np.int32] = np.empty(0, np.int32)  # (rows,): slot from 0, the last without one
        self.stems: NDArray[np.uint16] = np.empty((0, STEMS), np.uint16)  # (rows, STEMS): of title and abstract, 0 where none
        self.times: NDArray[np.int64] = np.empty((0, TIMES), np.int64)  # (rows, TIMES): by PUBLISHED, LIVE_FROM, LIVE_UNTIL
        self.embedding: NDArray[np.float16] = np.empty((0, config.embedding_size), np.float16)  # (rows, E)
        self._counts = SlidingCounts(WINDOWS)
        self._category_counts = SlidingCounts((WINDOWS[DAY],), self.categories)
        self._allocate(1024)

    def __len__(self) -> int:
        return len(self._articles)

    def __contains__(self, article_id: object) -> bool:
        return article_id in self._rows

    def knows(self, article_ids: Set[str]) -> bool:
        """Whether there is a row for each of these."""
        return all(map(self._rows.__contains__, article_ids))

    def put(self, article: Article) -> int:
        """Adds or replaces an article, which makes it rankable from the next request on; returns its row.

        Raises:
            InvalidInput: a time without a zone, or an embedding that is not finite. Nothing has changed then.
        """
        row = self._rows.row(article.id)
        if row is None:
            row = len(self._articles)
            if row == len(self.content):
                self._allocate(2 * row)
            self._encode(row, article)
            self._rows.add(article.id)
            self._articles.append(article)
            self._ids.append(article.id)
        elif article != self._articles[row] or self.times[row, LIVE_UNTIL] == 0:
            self._encode(row, article)
            self._articles[row] = article
            self.edits += 1
        return row

    def withdraw(self, article_id: str) -> bool:
        """Takes an article out of every following list. False if it was not there to take."""
        row = self._rows.row(article_id)
        if row is None or self.times[row, LIVE_UNTIL] == 0:
            return False
        self.times[row, LIVE_UNTIL] = 0
        return True

    def row(self, article_id: str) -> int | None:
        return self._rows.row(article_id)

    def article(self, row: int) -> Article:
        return self._articles[row]

    def withdrawn(self, row: int) -> bool:
        return bool(self.times[row, LIVE_UNTIL] == 0)

    def find(self, article_ids: Sequence[str]) -> Ints:
        """The row of each id, −1 where it is not known; ids may repeat.  (n,)"""
        return self._rows.find(article_ids)

    def ids(self, rows: Ints) -> tuple[str, ...]:
        return tuple(map(self._ids.__getitem__, rows.tolist()))

    def rows(self, article_ids: Sequence[str], now: datetime) -> tuple[Ints, tuple[str, ...]]:
        """Rows of the rankable articles among the ids, first mention only, and the ids that are not rankable."""
        second = epoch(now)
        rows = self.find(article_ids)
        if live_and_distinct(self.times, rows, second):
            return rows, ()
        ids = [*dict.fromkeys(article_ids)]
        rows = self.find(ids)
        rankable = (rows >= 0) & self._live(rows, second)
        return rows[rankable], tuple([ids[i] for i in np.flatnonzero(~rankable)])

    def live(self, now: datetime) -> Ints:
        """Rows of all articles past their embargo, not expired and not withdrawn, oldest row first."""
        return np.flatnonzero(self._live(slice(len(self)), epoch(now))).astype(np.int32)

    @property
    def published(self) -> NDArray[np.int64]:
        """Epoch seconds, by row.  (rows,)"""
        return self.times[:, PUBLISHED]

    @property
    def counts(self) -> NDArray[np.uint32]:
        """Clicks in each window, then exposures, by row.  (rows, 2W)"""
        return self._counts.counts

    @property
    def category_counts(self) -> NDArray[np.uint32]:
        """Clicks and exposures of each whole category within a day.  (categories, 2)"""
        return self._category_counts.counts

    def click(self, row: int, at: int) -> None:
        """Counts a click at `at` (epoch seconds)."""
        self.clicks([row], [at])

    def clicks(self, rows: Ints | Sequence[int], seconds: NDArray[np.int64] | Sequence[int]) -> None:
        """Counts a click on each of some rows, one at least, at its second (since 1970); rows may repeat.  (n,), (n,)"""
        self._count(np.asarray(rows, np.int32), np.asarray(seconds, np.int64), KINDS.index("clicks"))

    def expose(self, rows: Ints, at: int) -> None:
        """Counts one exposure of each row at `at` (epoch seconds); rows may repeat."""
        self.exposures(rows, np.full(len(rows), at))

    def exposures(self, rows: Ints | Sequence[int], seconds: NDArray[np.int64] | Sequence[int]) -> None:
        """Counts an exposure of each row at its second (since 1970); rows may repeat.  (n,), (n,)"""
        if len(rows):
            self._count(np.asarray(rows, np.int32), np.asarray(seconds, np.int64), KINDS.index("exposures"))

    def advance(self, at: int) -> None:
        """Lets what `at` (epoch seconds) has left behind fall out of its window. Time never runs backwards."""
        self._counts.advance(at)
        self._category_counts.advance(at)

    def load_counts(self, kind: Kind, window: int, rows: Ints, buckets: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Adds counted events: `counts[i]` of `rows[i]` in bucket `buckets[i]` (epoch // bucket length) of one window.

        Call `advance` first; buckets that have left the window are ignored.
        """
        self._counts.load(rows, counts, buckets, KINDS.index(kind), window)
        if window == DAY:
            self._category_counts.load(self.category[rows], counts, buckets, KINDS.index(kind), 0)

    def _count(self, rows: Ints, seconds: NDArray[np.int64], kind: int) -> None:
        self.advance(int(seconds.max()))
        self._counts.add_each(rows, seconds, kind)
        self._category_counts.add_each(self.category.take(rows), seconds, kind)

    def _live(self, rows: Ints | slice, second: int) -> Bools:
        return (self.times[rows, LIVE_FROM] <= second) & (second < self.times[rows, LIVE_UNTIL])

    def _encode(self, row: int, article: Article) -> None:
        content = content_columns(article, self._config)
        category = min(int(content[1]) - self._config.provider_slots, self._config.category_slots)
        published = epoch(article.published_at)
        live_from = epoch_rounded_up(article.embargo_until) if article.embargo_until else 0
        live_until = max(1, epoch(article.expires_at)) if article.expires_at else FOREVER
        embedding = projected(article.embedding, self._config.embedding_size)
        if row < len(self) and category != self.category[row]:  # its clicks of the day come along, as after a restart
            self._category_counts.move(int(self.category[row]), category, self._counts, row, DAY)
        self.content[row], self.category[row], self.stems[row] = content, category, stems(article)
        self.content_revision[row] += 1
        self.times[row] = published, live_from, live_until
        self.embedding[row] = embedding

    def _allocate(self, capacity: int) -> None:
        """Makes room for `capacity` rows. Everything is copied once; doubling keeps the total cost linear."""
        self.content = extended(self.content, capacity, self._config.content_slots)
        self.content_revision = extended(self.content_revision, capacity)
        self.stems = extended(self.stems, capacity)
        self.times = extended(self.times, capacity)
        self.category = extended(self.category, capacity)
        self.embedding = extended(self.embedding, capacity)
        self._counts.extend(capacity)


def column_counts(config: Config) -> tuple[int, int, int, int, int]:
    """Content columns of an article by group: provider, category, topics, entities, title words (M in all)."""
    return (1, 1, config.topics_per_article, config.entities_per_article, config.words_per_article)


def content_columns(article: Article, config: Config) -> NDArray[np.uint16]:
    """The article's properties as hashed slots, group by group, C where a column stays empty.  (M,)"""
    sizes = (config.provider_slots, config.category_slots, config.topic_slots, config.entity_slots, config.word_slots)
    words = WORD.findall(article.title.lower())
    values = ([article.provider], [article.category], article.topics, article.entities, words)
    columns: list[int] = []
    offset = 0
    for size, count, group in zip(sizes, column_counts(config), values, strict=True):
        slots = list(dict.fromkeys(offset + slot(value, size) for value in group if value))[:count]
        columns += slots + [config.content_slots] * (count - len(slots))
        offset += size
    return np.array(columns, np.uint16)


def stems(article: Article) -> NDArray[np.uint16]:
    """Title and abstract as the hashed beginnings of their longer words, no two equal, in the order of the text.  (STEMS,)"""
    words = dict.fromkeys(word[:STEM] for word in LONG_WORD.findall(f"{article.title} {article.abstract}".lower()))
    hashed = [*dict.fromkeys(1 + slot(word, 65_535) for word in words)][:STEMS]
    return np.array(hashed + [0] * (STEMS - len(hashed)), np.uint16)


@lru_cache(maxsize=65_536)
def slot(value: str, size: int) -> int:
    """A hash bucket that is the same on every machine and in every process."""
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "little") % size


def projected(embedding: tuple[float, ...] | None, size: int) -> Floats:
    """The direction of an embedding of any length in `size` dimensions: a fixed random projection, zeros if there is none."""
    if not embedding or not size:
        return np.zeros(size, np.float32)
    vector = np.asarray(embedding, np.float64)
    if not np.isfinite(vector).all():
        raise InvalidInput("an embedding must be finite")
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm):
        vector = vector / np.abs(vector).max()
        norm = float(np.linalg.norm(vector))
    if norm == 0:
        return np.zeros(size, np.float32)
    return np.asarray((vector / norm) @ projection(len(embedding), size), np.float32)


@lru_cache(maxsize=8)
def projection(length: int, size: int) -> NDArray[np.float64]:
    """Johnson-Lindenstrauss: Gaussian entries of variance 1/size keep inner products on average.  (length, size)"""
    rng = np.random.default_rng(np.random.SeedSequence([length, size]))
    return rng.normal(0, size**-0.5, (length, size))
