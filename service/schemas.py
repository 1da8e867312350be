"""JSON at the door: what a request may hold, and what an answer holds. Inside, only `drn.types` travel."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from drn.types import Article, Context, Event, Pin, RankRequest, Rule, RuleKind

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"  # no control characters; PostgreSQL cannot even store \x00
PROSE = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"  # the same, but tabs and line ends may stay
YEARS = (1900, 2999)  # times outside it are mistakes, and near year 1 or 9999 a change of zone overflows
SESSION = "session:"  # a session that stands in for a reader


def iso_text(value: Any) -> Any:
    """Refuses numbers and numeric text, which pydantic would read as a Unix time."""
    if not isinstance(value, str) or not value[:4].isdigit() or value[4:5] != "-":
        raise ValueError("must be a date and time in ISO 8601 with a zone, such as 2026-11-22T10:00:00Z")
    return value


def to_utc(value: datetime) -> datetime:
    if not YEARS[0] <= value.year <= YEARS[1]:
        raise ValueError(f"must be between the years {YEARS[0]} and {YEARS[1]}")
    return value.astimezone(UTC)


def plain_number(value: Any) -> Any:
    """Refuses true, false and text, which pydantic would read as numbers."""
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


Id = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
Name = Annotated[str, Field(max_length=200, pattern=PRINTABLE)]
Time = Annotated[AwareDatetime, BeforeValidator(iso_text), AfterValidator(to_utc)]
Number = Annotated[float, BeforeValidator(plain_number), Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
EMPTY: dict[str, Any] = {
    "default": []
}  # said in OpenAPI, but made by a factory: a default list is copied, deeply, at each request
EventType = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,49}$")]


class Body(BaseModel):
    """A request body: unknown fields are mistakes and are named, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def reader_id(user_id: str | None, session_id: str | None) -> str | None:
    """The reader whom a request is about: the user, else the session in its place, else nobody."""
    return user_id or (SESSION + session_id if session_id else None)


class ContextBody(Body):
    device: Name = ""
    surface: Name = ""
    article_id: Id | None = None


class PinBody(Body):
    article_id: Id
    position: Annotated[int, BeforeValidator(plain_number), Field(ge=0, le=99)]


class RankBody(Body):
    """A request for a list. Without `candidates` the live catalogue is ranked."""

    user_id: Id | None = None
    session_id: Annotated[str, Field(min_length=1, max_length=190, pattern=PRINTABLE)] | None = None
    candidates: Annotated[list[Id], Field(min_length=1)] | None = None
    k: Annotated[int, BeforeValidator(plain_number), Field(ge=1, le=100)] = 10
    context: ContextBody = ContextBody()
    exclude: Annotated[list[Id], Field(max_length=10_000, default_factory=list, json_schema_extra=EMPTY)]
    pinned: Annotated[list[PinBody], Field(max_length=100, default_factory=list, json_schema_extra=EMPTY)]
    explore: Annotated[bool, Field(strict=True)] = True
    request_id: Id | None = None

    @model_validator(mode="after")
    def pins_agree(self) -> "RankBody":
        if not self.pinned:
            return self
        ids, positions = [pin.article_id for pin in self.pinned], [pin.position for pin in self.pinned]
        if len(set(ids)) < len(ids) or len(set(positions)) < len(positions):
            raise ValueError("pinned: an article has one position and a position one article")
        if max(positions) >= self.k:
            raise ValueError(f"pinned: position {max(positions)} is outside a list of {self.k}")
        if both := set(ids) & set(self.exclude):
            raise ValueError(f"pinned: {min(both)!r} is in exclude as well")
        return self

    def to_request(self, request_id: str, now: datetime) -> RankRequest:
        return RankRequest(
            request_id=request_id,
            at=now,
            k=self.k,
            user_id=reader_id(self.user_id, self.session_id),
            candidates=None if self.candidates is None else tuple(self.candidates),
            context=Context(self.context.device, self.context.surface, self.context.article_id),
            exclude=tuple(self.exclude),
            pinned=tuple(Pin(pin.article_id, pin.position) for pin in self.pinned),
            explore=self.explore,
        )


class EventBody(Body):
    """One thing a reader did. Without `request_id` it is organic reading; `user_id` or `session_id` say whose."""

    event_id: Id
    article_id: Id
    type: EventType
    at: Time | None = None
    value: Number | None = None
    request_id: Id | None = None
    user_id: Id | None = None
    session_id: Annotated[str, Field(min_length=1, max_length=190, pattern=PRINTABLE)] | None = None

    def to_event(self, now: datetime) -> Event:
        """The event as it is stored. A clock that runs ahead must not move counters into the future: `at` ends at now."""
        at, user_id = min(self.at, now) if self.at else now, reader_id(self.user_id, self.session_id)
        return Event(self.event_id, self.article_id, self.type, at, self.value, self.request_id, user_id)


class FeedbackBody(Body):
    events: Annotated[list[EventBody], Field(min_length=1, max_length=5_000)]


class ArticleBody(Body):
    """What the CMS publishes."""

    id: Id
    title: Annotated[str, Field(min_length=1, max_length=1_000, pattern=PROSE)]
    published_at: Time
    abstract: Annotated[str, Field(max_length=20_000, pattern=PROSE)] = ""
    provider: Name | None = None
    category: Name | None = None
    topics: Annotated[list[Name], Field(max_length=200)] = []
    entities: Annotated[list[Name], Field(max_length=500)] = []
    expires_at: Time | None = None
    embargo_until: Time | None = None
    url: Annotated[str, Field(max_length=2_000, pattern=PRINTABLE)] | None = None
    embedding: Annotated[list[Number], Field(min_length=1, max_length=4_096)] | None = None

    def to_article(self) -> Article:
        return Article(
            id=self.id,
            title=self.title,
            published_at=self.published_at,
            abstract=self.abstract,
            provider=self.provider,
            category=self.category,
            topics=tuple(self.topics),
            entities=tuple(self.entities),
            expires_at=self.expires_at,
            embargo_until=self.embargo_until,
            url=self.url,
            embedding=None if self.embedding is None else tuple(self.embedding),
        )


class ArticlesBody(Body):
    articles: Annotated[list[ArticleBody], Field(min_length=1, max_length=10_000)]


class RuleBody(Body):
    """What editors set for every list, or for those of one surface.

    A pin has a position, a cap the most times that one reader is shown the article, a boost what is added to its scores.
    """

    kind: RuleKind
    article_id: Id
    surface: Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)] | None = None
    position: Annotated[int, BeforeValidator(plain_number), Field(ge=0, le=99)] | None = None
    most: Annotated[int, BeforeValidator(plain_number), Field(ge=1, le=65_535)] | None = None
    boost: Annotated[float, BeforeValidator(plain_number), Field(allow_inf_nan=False, ge=-100, le=100)] | None = None
    ends_at: Time | None = None

    @model_validator(mode="after")
    def kind_has_its_number(self) -> "RuleBody":
        for name, kind in (("position", RuleKind.PIN), ("most", RuleKind.CAP), ("boost", RuleKind.BOOST)):
            if (getattr(self, name) is not None) != (self.kind is kind):
                raise ValueError(f"{name}: a {kind} needs it" if self.kind is kind else f"{name}: a {self.kind} has none")
        if self.boost == 0:
            raise ValueError("boost: 0 changes nothing")
        return self

    def to_rule(self) -> Rule:
        return Rule(self.kind, self.article_id, self.surface, self.position, self.most, self.boost, self.ends_at)


class Item(BaseModel):
    article_id: str
    position: int
    score: float = Field(description="Q of the current network")
    reason: Literal["ranked", "pinned"]


class RankAnswer(BaseModel):
    request_id: str
    model_version: int
    items: list[Item]
    unknown: list[str] = Field(description="candidates that cannot be ranked: no such article, withdrawn, expired or embargoed")
    fallback: str | None = Field(description="why a simpler list was served than was asked for, if one was")


class FeedbackAnswer(BaseModel):
    accepted: int
    duplicates: int


class StoredAnswer(BaseModel):
    stored: int


class ArticleAnswer(BaseModel):
    id: str
    title: str
    published_at: datetime
    abstract: str
    provider: str | None
    category: str | None
    topics: list[str]
    entities: list[str]
    expires_at: datetime | None
    embargo_until: datetime | None
    url: str | None
    embedding: list[float] | None


class TitleAnswer(BaseModel):
    id: str
    title: str
    published_at: datetime


class TitledAnswer(BaseModel):
    articles: list[TitleAnswer]


class Erased(BaseModel):
    """The receipt of an erasure: how many rows of each kind are gone. The reader is named by a digest only."""

    model_config = ConfigDict(extra="allow")


class VersionItem(BaseModel):
    id: int
    parent_id: int | None
    kind: Literal["initial", "minor", "major", "rollback"]
    created_at: datetime

    model_config = ConfigDict(extra="allow")


class VersionsAnswer(BaseModel):
    versions: list[VersionItem]


class Slot(BaseModel):
    """One place of a served list."""

    article_id: str
    title: str | None = Field(description="as of now; null if no article of this id is stored")
    withdrawn: bool | None = Field(description="whether it is taken down by now; null likewise")
    position: int
    reason: Literal["ranked", "pinned"]
    current_score: float | None = Field(description="Q of the current network; null if the row is damaged")
    explore_score: float | None = Field(description="Q of the explore network; null if the row is damaged")
    boost: float = Field(description="what an editor's rule added to both scores before they were ranked")
    credit: float = Field(description="explore's share of a click here: P_explore / (P_explore + P_current)")
    propensity: float = Field(description="probability of this article in this place, given the places above")
    clicked: bool = Field(description="whether a click in this list has been reported")
    features: dict[str, Any] = Field(
        description="what the networks saw of this article, by feature name; zeros left out, all if they cannot be read"
    )


class DecisionAnswer(BaseModel):
    request_id: str
    at: datetime
    user_id: str | None
    model_version: int
    seed: int
    k: int
    explore: bool
    context: dict[str, str]
    candidates: list[str]
    unknown: list[str]
    fallback: str | None
    reader_features: dict[str, float] = Field(description="what the networks saw of the reader and the context; zeros left out")
    items: list[Slot]
    reproduced: bool | None = Field(description="whether re-deriving the row gives the same list; null if it cannot be tried")
    reason: str | None = Field(description="why it could not be re-derived, or what differs")


class RuleAnswer(BaseModel):
    """A rule with what is known of its article by now."""

    id: int
    kind: RuleKind
    article_id: str
    title: str
    live: bool = Field(description="whether the article can be in a list now: not withdrawn, expired or embargoed")
    surface: str | None = Field(description="the `context.surface` of the lists for which it holds; null: of all")
    position: int | None = Field(description="where a pin holds the article")
    most: int | None = Field(description="how often a cap lets the article be shown to one reader")
    boost: float | None = Field(description="what is added to both networks' scores of the article")
    created_at: datetime
    ends_at: datetime | None = Field(description="when it ends by itself; null: never")
    ended_at: datetime | None = Field(description="since when it no longer holds; null: it holds")


class RulesAnswer(BaseModel):
    rules: list[RuleAnswer]


class ProblemField(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField]


class Health(BaseModel):
    status: Literal["ok", "unavailable"]
    detail: str = ""
