"""What one API process keeps in memory: articles with their counters, readers' histories, the served version, rules, the keys.

All of it is a cache of the log, rebuilt at start. Readers are bounded: so many of them (`DRN_CACHED_READERS`), so many clicks
each (`history_clicks`). The catalogue is not: it grows with every article ever published, and a withdrawn one keeps its row.
Nothing here waits; `service.following` keeps it in step.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np

from drn.catalogue import Catalogue, epoch
from drn.config import Config
from drn.features import schema_digest
from drn.holdback import fault
from drn.ranking import Served, serving
from drn.readers import Reader
from drn.rewards import CLICK
from drn.types import Article, Event, Impression, Rule
from drn.versions import Version
from service.keys import KeyRing
from service.store.impressions import ShownList

# Transactions that write a log end within 5 s (the store sets the time-outs), so what was numbered longer ago than this is
# either visible or gone.
SETTLED_SECONDS = 10.0
LONGEST_GAP = 1_000_000  # numbers handed out within that time are never so many; a sequence that was set anew may jump further
RECENT_LISTS = 20_000  # a kilobyte each; most of what readers do with a list follows within minutes


class Live:
    """The state of one process. Every method is synchronous, so each change is whole before another request runs.

    Rows of the log reach it twice over (at once if this process wrote them, and again when a tail is read), so what is
    applied is remembered by its place in the log and counted once.
    """

    def __init__(self, config: Config, cached_readers: int) -> None:
        self.config = config
        self.catalogue = Catalogue(config)
        self.served: Served | None = None
        self.fault: str | None = None  # what the served version's own sums prove to be wrong with the machine
        self.refused: str | None = None  # why a newer version than the served one is not taken into service
        self.keys = KeyRing({})  # closed until the keys have been read
        self.rules: tuple[Rule, ...] = ()  # of the editors, for the whole site; swapped as one reference
        self.impressions = Applied()
        self.events = Applied()
        self.lists = RecentLists()
        self._cached_readers = cached_readers
        self._readers: OrderedDict[str, Reader] = OrderedDict()
        self._loading: set[str] = set()
        self._touched: set[str] = set()
        self._looks = 0  # at the log, begun so far
        self._recent: dict[str, int] = {}  # readers read from the log since the last whole look began: looks begun by then
        self._in_doubt = False

    def serve(self, version: Version, reference: Version | None = None) -> bool:
        """Takes a version into service with one assignment. False (and `refused` says why) if its features are others.

        Args:
            reference: the hold-back's, unless it is served for that already or is `version` itself; without any of these,
                nobody is held back
        """
        if version.schema != (ours := schema_digest(self.config)):
            self.refused = f"version {version.id} was trained on feature schema {version.schema}, this process makes {ours}"
            return False
        self.refused = None
        alone = serving(version)
        if version.holdback.reference == version.id:
            held_back: Served | None = alone
        else:
            held_back = serving(reference) if reference else self.held_back_by(version.holdback.reference)
        self.served = replace(alone, reference=held_back)
        self.fault = fault(version.duel, version.holdback)
        return True

    def held_back_by(self, reference: int | None) -> Served | None:
        """The reference in service, if it is this version."""
        before = self.served.reference if self.served else None
        return before if before is not None and before.version_id == reference else None

    @property
    def version_id(self) -> int | None:
        return self.served.version_id if self.served else None

    def put(self, article: Article, withdrawn: bool = False) -> None:
        """Makes an article rankable from the next list on, or takes it out of it."""
        self.catalogue.put(article)
        if withdrawn:
            self.catalogue.withdraw(article.id)

    def begin_look(self, *, in_doubt: bool) -> int:
        """The log is about to be read for what others wrote; the number of this look.

        What it finds was not visible when the look before it began. So a reader who was in memory by then does not hold it
        yet, and it is added. One who was read from the log later may hold it already, and is dropped, to be read again.

        Args:
            in_doubt: it may also find what was visible before but was left out of earlier looks
        """
        self._looks += 1
        self._in_doubt = in_doubt
        return self._looks

    def end_look(self, number: int) -> None:
        """All that this look found has been applied."""
        self._recent = {user_id: looks for user_id, looks in self._recent.items() if looks >= number}

    def show(self, lists: Iterable[ShownList], *, ours: bool) -> None:
        """Counts served lists, each for its reader too if what is in memory of them is known not to hold it yet."""
        new = [each for each in lists if self.impressions.add(each.seq)]
        rows = self.catalogue.find([article_id for each in new for article_id in each.article_ids])
        seconds: list[int] = []
        for each in new:
            self.lists.remember(each)
            first = len(seconds)
            own = rows[first : first + len(each.article_ids)]
            seconds += [epoch(each.at)] * len(own)
            if (reader := self._touch(each.user_id, ours)) is not None:
                reader.show(own)
        known = rows >= 0
        self.catalogue.exposures(rows[known], np.array(seconds, np.int64)[known])

    def show_impressions(self, committed: Iterable[tuple[int, Impression]]) -> None:
        """Counts lists that this process has served and logged, each with its place in the log."""
        lists = [ShownList(each.request_id, seq, each.at, each.user_id, each.article_ids) for seq, each in committed]
        self.show(lists, ours=True)

    def note(self, events: Iterable[tuple[int, Event]], *, ours: bool) -> None:
        """Applies committed events, each with its place in the log.

        Only clicks are features; other events wait in the log for their update.
        """
        clicks = [event for seq, event in events if self.events.add(seq) and event.type == CLICK]
        rows = self.catalogue.find([event.article_id for event in clicks])
        times = {at: epoch(at) for at in {event.at for event in clicks}}  # often few, see `service.store.feedback.columns`
        seconds = [times[event.at] for event in clicks]
        for event, row, second in zip(clicks, rows.tolist(), seconds, strict=True):
            if row >= 0 and (reader := self._touch(event.user_id, ours)) is not None:
                reader.click(row, second)
        if (known := rows >= 0).any():
            self.catalogue.clicks(rows[known], np.array(seconds, np.int64)[known])

    def cached_reader(self, user_id: str) -> Reader | None:
        """The reader, if in memory; the ones asked for least recently are dropped first."""
        reader = self._readers.get(user_id)
        if reader is not None:
            self._readers.move_to_end(user_id)
        return reader

    def begin_loading(self, user_id: str) -> None:
        """From now until `keep` or `end_loading`, every event of this reader makes what is being read out of date."""
        self._loading.add(user_id)
        self._touched.discard(user_id)

    def end_loading(self, user_id: str) -> None:
        """The reader is not being read any more, whether or not there is something to keep."""
        self._loading.discard(user_id)
        self._touched.discard(user_id)

    @property
    def loading(self) -> int:
        """How many readers are being read from the log."""
        return len(self._loading)

    def keep(self, user_id: str, reader: Reader) -> bool:
        """Caches a reader who was read from the log. False, and nothing is kept, if there was news meanwhile."""
        touched = user_id in self._touched
        self.end_loading(user_id)
        if touched:
            return False
        self._readers[user_id] = reader
        self._recent[user_id] = self._looks
        while len(self._readers) > self._cached_readers:
            self._readers.popitem(last=False)
        return True

    def forget(self, user_id: str) -> None:
        """Drops a reader, who is read from the log again when next asked for."""
        if user_id in self._loading:
            self._touched.add(user_id)
        self._readers.pop(user_id, None)

    def known_readers(self) -> tuple[str, ...]:
        """The readers in memory, and those who are being read."""
        return (*self._readers, *self._loading)

    def build_reader(self, clicks: Iterable[tuple[str, datetime]], shown: Mapping[str, int]) -> Reader:
        """A reader from the log: clicks and, by article, how often it was shown."""
        reader = Reader(self.config.history_clicks)
        for article_id, at in clicks:
            if (row := self.catalogue.row(article_id)) is not None:
                reader.click(row, epoch(at))
        known = {row: times for article_id, times in shown.items() if (row := self.catalogue.row(article_id)) is not None}
        reader.load_shown(np.array(list(known), np.int32), np.minimum(list(known.values()), 65_535).astype(np.uint16))
        return reader

    @property
    def readers(self) -> int:
        return len(self._readers)

    def _touch(self, user_id: str | None, ours: bool) -> Reader | None:
        """The cached reader to update. One whom another process's news may have reached already is dropped."""
        if user_id is None:
            return None
        if not ours and (self._in_doubt or user_id in self._recent):
            self.forget(user_id)
        elif user_id in self._loading:
            self._touched.add(user_id)
        return self._readers.get(user_id)


class Applied:
    """The places of a log that have been applied, and those that may yet appear.

    Numbers are handed out before their transactions commit, so a smaller one may become visible after a larger one. Each
    that was passed over is looked for until it lies below `floor`, where every transaction is known to have ended.
    """

    def __init__(self) -> None:
        self.floor = 0
        self.newest = 0
        self._read = 0  # the log has been read up to here but for what is missing
        self._missing: set[int] = set()  # of the places above the floor, up to the newest
        self._passes: deque[tuple[float, int]] = deque()  # when the log was read to its end, and its newest place then

    def add(self, seq: int) -> bool:
        """Remembers a place; False if it was applied before."""
        if seq > self.newest:
            if seq > self.newest + 1:
                self._missing.update(range(max(self.newest + 1, seq - LONGEST_GAP), seq))
            self.newest = seq
            return True
        if seq in self._missing:
            self._missing.remove(seq)
            return True
        return False

    def unread(self) -> tuple[int, list[int]]:
        """Everything behind the first number is to be read, and of what lies before it the places in the list.

        What this process wrote itself meanwhile is passed over: places of others between are missing from then on.
        """
        behind, self._read = self._read, self.newest
        return behind, sorted([seq for seq in self._missing if seq <= behind])

    def read_to(self, seq: int) -> None:
        """What was visible up to this place has been added."""
        self._read = max(self._read, seq)

    def settle(self, now: float) -> None:
        """The log has just been read to its end: raises the floor to what was newest `SETTLED_SECONDS` ago.

        Args:
            now: seconds of a clock that never goes back.
        """
        self._passes.append((now, self.newest))
        while len(self._passes) > 1 and self._passes[1][0] <= now - SETTLED_SECONDS:
            self._passes.popleft()
        when, newest = self._passes[0]
        if when <= now - SETTLED_SECONDS:
            self.raise_floor(newest)

    def raise_floor(self, floor: int) -> None:
        """Looks no more for the places up to `floor`: nothing at or below it can appear any more."""
        if floor > self.floor:
            self.floor = floor
            self.newest = max(self.newest, floor)
            self.read_to(floor)
            self._missing = {seq for seq in self._missing if seq > floor}


class RecentLists:
    """What was served or looked up lately, so that feedback on it needs no look at the log."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, ShownList] = OrderedDict()

    def remember(self, shown: ShownList) -> None:
        self._lists[shown.request_id] = shown
        if len(self._lists) > RECENT_LISTS:
            self._lists.popitem(last=False)

    def get(self, request_id: str) -> ShownList | None:
        return self._lists.get(request_id)

    def clear(self) -> None:
        self._lists.clear()
