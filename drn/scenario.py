"""Every number of the simulated newsroom, with its reason. `drn.simulation` says what they mean together.

None of them comes from a log: they are round numbers that put a simulated site in the range that published news logs
show (1-16 % of shown articles clicked, most visits without a click, lists of tens to hundreds of live articles that
are stale within two days). Times are hours or seconds of the simulated clock; weights are in logits of a click.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

from drn.errors import InvalidConfig

Signal: TypeAlias = Literal["taste", "popularity", "none"]

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulated newsroom and its readers.

    Raises:
        InvalidConfig: a number is outside its range.
    """

    label: str = ""  # in front of article, request and event ids, so that a second run of one seed repeats no id
    speed: float = 1.0  # simulated seconds per second of the emitted times; 400 plays a day in under four minutes
    days: float | None = None  # the world ends after so many simulated days; None goes on for ever
    signal: Signal = "taste"  # "popularity": everybody likes the same; "none": clicks depend on the slot alone
    shift_day: float | None = None  # on this day `shift_share` of the readers, and what is in fashion, change at once
    shift_share: float = 1.0

    # What is published
    articles_per_day: float = 70.0  # × lifetime: about 100 live articles, a regional newspaper's front section
    lifetime_hours: float = 36.0  # mean; news is stale after one to two days
    withdrawn_share: float = 0.02  # taken down before their time: corrections, legal notices
    entities_per_topic: int = 5  # people, clubs and companies that a topic's articles are about
    second_topic_share: float = 0.35  # articles that touch a topic outside their own
    bursts_per_day: float = 1.5  # breaking stories
    burst_hours: float = 5.0  # after which a burst has fallen to 1/e
    burst_height: float = 1.5  # logits at its start: about four times the odds of a click
    burst_share: float = 0.3  # of the articles published during a fresh burst that are about it

    # Who reads
    readers: int = 200
    anonymous_share: float = 0.05  # readers who never log in
    sessions_per_day: float = 4.0  # median reader with an average mood; × about 1.7 lists per session
    sessions_spread: float = 0.5  # log-normal: the keenest tenth comes four times as often as the idlest
    rhythm: float = 0.7  # amplitude of the day: nights are quiet
    mobile_share: float = 0.65
    organic_share: float = 0.05  # sessions that begin with an article found elsewhere (search, a friend's link)

    # What they like (logits; the own tastes drift as stationary random walks that forget within these days)
    base: float = -2.3  # an average fresh article that is looked at: 9 %
    category_weight: float = 0.8
    topic_weight: float = 0.9
    entity_weight: float = 0.5
    common_share: float = 0.3  # of a taste's variance that all readers share (fashion)
    category_days: float = 30.0  # who follows sport does so for a season
    topic_days: float = 10.0  # a topic holds for a week or two
    entity_days: float = 4.0  # a name for some days
    quality_weight: float = 0.5  # headline appeal that no feature shows; only clicks reveal it
    worth_correlation: float = 0.6  # between a headline's appeal and what the article is worth: the rest is clickbait
    ageing: float = 0.9  # logits lost per day since publication
    reread_loss: float = 3.0  # an article that this reader has read
    reshown_loss: float = 0.2  # per time it was shown to this reader before
    satiety: float = 0.3  # per article of the same topic read in this session

    # How they look at a list
    k: int = 10  # slots of a list
    patience: float = 0.9  # chance to go on to the next slot: two thirds of the readers look at the fifth
    mobile_patience: float = 0.86  # a small screen
    fatigue: float = 0.92  # factor on the patience per further list of a session
    skip: float = 0.1  # slots passed over unread, anywhere in the list
    back_to_list: float = 0.7  # after an article, goes on with the list
    idle_share: float = 0.35  # sessions that only glance at the headlines: no click whatever is shown
    control_click: float = 0.08  # chance per examined slot when signal is "none"
    headline_seconds: float = 1.5
    read_seconds: float = 45.0  # median; longer for articles that are worth it
    share_share: float = 0.03  # of articles read
    hide_share: float = 0.002  # of slots examined and not clicked

    # When they come back
    next_list: float = 0.35  # chance to ask for another list in this session
    next_list_satisfied: float = 0.2  # more of it when the last one satisfied fully
    mood_memory: float = 0.85  # weight of the past in the mood; it follows about the last seven lists
    mood_start: float = 0.3  # what readers expect
    mood_effect: float = 1.2  # log-hazard of the return per unit of mood: from never to always satisfied, 3.3 times

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; it must be from 0 to 1")
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; it must be positive")
        if self.signal not in ("taste", "popularity", "none"):
            raise InvalidConfig(f"signal is {self.signal!r}; it must be taste, popularity or none")

    def but(self, **changes: Any) -> "Scenario":
        """This newsroom with other numbers.

        Raises:
            InvalidConfig: no such number, or one out of range.
        """
        if unknown := set(changes) - set(NAMES):
            raise InvalidConfig(f"a scenario has no {', '.join(sorted(unknown))}")
        return replace(self, **changes)


NAMES = tuple(spec.name for spec in fields(Scenario))
CHANCES = ("rhythm", "worth_correlation", "patience", "mobile_patience", "fatigue", "skip", "back_to_list", "control_click")
MOODS = ("next_list", "next_list_satisfied", "mood_memory", "mood_start")
SHARES = (*CHANCES, *MOODS, *(name for name in NAMES if name.endswith("_share")))
RATES = tuple(name for name in NAMES if name.endswith(("_hours", "_days", "_per_day", "_seconds")))
POSITIVE = ("speed", "readers", "k", "entities_per_topic", *RATES)

NEWSROOM = Scenario()
DEMO = NEWSROOM.but(speed=400.0)  # 200 readers ask for 5-10 lists a second, click within seconds, and a day lasts 216 s
