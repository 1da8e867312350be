"""Every hyper-parameter: default, symbol, source. Profiles are named sets of them; nothing else holds a learning constant."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias, cast

from drn.errors import InvalidConfig

Direction: TypeAlias = Literal["guided", "random", "es"]
Gate: TypeAlias = Literal["offline", "duel", "none"]
Profile: TypeAlias = Literal["default", "demo", "paper"]

DRN = "Zheng et al., WWW 2018"
PDGD = "Oosterhuis & de Rijke, CIKM 2018"
RETIRED = ("guided_halving",)  # hyper-parameters that stored versions still name, and nothing looks at any more
MOST_CONTENT_SLOTS = 13_107  # a reader's counts of them in five windows are numbered with 16 bits in the log


def parameter(default: Any, symbol: str, source: str, *, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field that knows its symbol, its source and its range (both ends allowed)."""
    return field(default=default, metadata={"symbol": symbol, "source": source, "low": low, "high": high})


@dataclass(frozen=True, slots=True)
class Config:
    """Hyper-parameters of features, networks, duel and updates. Times are seconds.

    Raises:
        InvalidConfig: a value is of another type, outside its range or contradicts another.
    """

    root_seed: int = parameter(0, "", "every random draw derives from it and an id", low=0)

    # Features (the sizes add up to the paper's groups: 412 + 5 news, 5 × 413 reader, 25 reader × news, 32 context)
    provider_slots: int = parameter(12, "", f"{DRN} §4.1: 417 = 412 properties + 5 counts", low=1)
    category_slots: int = parameter(40, "", f"{DRN} §4.1", low=1)
    topic_slots: int = parameter(100, "", f"{DRN} §4.1", low=1)
    entity_slots: int = parameter(130, "", f"{DRN} §4.1", low=1)
    word_slots: int = parameter(130, "", f"{DRN} §4.1; hashed title words", low=1)
    topics_per_article: int = parameter(4, "", "further topics of an article are ignored", low=1)
    entities_per_article: int = parameter(6, "", "further entities of an article are ignored", low=1)
    words_per_article: int = parameter(12, "", "further title words are ignored", low=1)
    embedding_size: int = parameter(
        16, "E", "article embeddings of any length are projected to it; 0 switches them off", low=0, high=65_535
    )
    history_clicks: int = parameter(300, "", "a reader's newest clicks that features look at", low=1, high=60_000)
    features: str = parameter("all", "", f"dense inputs: all, or {DRN} §4.1's alone, the others blank; its list misses much")
    # Above 0, as logarithms are taken of rates.
    rate_prior_clicks: float = parameter(1.0, "", "smoothed click rate (clicks + 1) / (exposures + 11)", low=1e-6)
    rate_prior_exposures: float = parameter(11.0, "", "smoothed click rate (clicks + 1) / (exposures + 11)", low=1e-6)

    # Network
    advantage_layers: tuple[int, ...] = parameter((64, 32), "A(s,a)", f"{DRN} Fig. 4; widths chosen here")
    value_layers: tuple[int, ...] = parameter((32,), "V(s)", f"{DRN} Fig. 4; widths chosen here")
    activation: str = parameter(
        "hardswish", "", "hardswish [Howard et al. 2019, §5.2], relu, or sigmoid as in the online learning-to-rank literature"
    )
    list_pooling: str = parameter(
        "mean", "", "what A's second layer sees of the whole list: the mean of its first layer [Zaheer et al. 2017], or none"
    )

    start: str = parameter("informed", "", "what A(s,a) begins as: informed, by what all newsrooms know, or by chance")

    # Rewards
    gamma: float = parameter(
        0.0, "γ", f"{DRN} Table 3 has 0.4, which is worth nothing in any table of ours (docs/benchmarks.md)", low=0, high=1
    )
    beta: float = parameter(0.05, "β", f"{DRN} Table 3", low=0)
    click_reward: float = parameter(1.0, "r_click", DRN, low=0)
    event_rewards: Mapping[str, float] = field(
        default_factory=lambda: {"like": 0.5, "share": 0.5, "hide": -1.0},
        metadata={"symbol": "", "source": "added to the click's; any event name may be given one", "low": None, "high": None},
    )
    dwell_reward: float = parameter(0.0, "", "per dwell, saturating as 1 − exp(−seconds / dwell_scale); 0 is the paper's", low=0)
    dwell_scale: float = parameter(30.0, "", "seconds of reading after which 63 % of dwell_reward is given", low=1e-9)
    activeness: str = parameter(
        "off",
        "r_active",
        "'increment' over the expected return, or 'level', the paper's Eq. 3-5; worth nothing in our tables",
    )
    initial_activeness: float = parameter(0.5, "S0", f"{DRN} §4.3", low=0, high=1)
    activeness_per_return: float = parameter(0.32, "Sa", f"{DRN} §4.3", low=0, high=1)
    return_hazard: float = parameter(1.2e-5, "λ0", f"{DRN} §4.3, per second", low=0)
    return_horizon: float = parameter(86_400.0, "T0", f"{DRN} §4.3", low=1)
    session_gap: float = parameter(1_800.0, "", "a reader who stays away longer begins a new session; s' is terminal", low=1)

    # Duel
    direction: Direction = parameter("guided", "", f"'random' is {DRN} Eq. 7-8, corrected; 'guided' follows {PDGD}")
    tau: float = parameter(3.0, "τ", "Hofmann et al., CIKM 2011: P(d) ∝ rank^−τ; of preferences' weights ρ always", low=0)
    tau_trained: float = parameter(
        8.0, "", "what τ of a list grows to, as a network that knows more needs less chance; not above τ: it stays", low=0
    )
    tau_halfway: int = parameter(
        400, "", "lists of replay that a major update has learned from after which τ is half-way to tau_trained", low=1
    )
    alpha: float = parameter(0.1, "α", f"{DRN} Eq. 7, Table 3", low=0)
    eta: float = parameter(0.05, "η", f"{DRN} Eq. 8, Table 3", low=0, high=1)
    guided_rate: float = parameter(1e-3, "", "learning rate of the guided explore network (Adam)", low=0)
    guided_batch: int = parameter(8, "", "impressions per gradient step of the guided explore network", low=1)
    guided_noise: float = parameter(0.0, "", "relative random noise added to a guided explore network when it is opened", low=0)
    duel_window: int = parameter(200, "", "settled impressions after which a guided duel may be decided", low=1)
    duel_loss_z: float = parameter(-1.5, "", "a guided explore network whose mean outcome has a lower z is reset", high=0)
    duel_harm_alpha: float = parameter(
        0.05,
        "α",
        "a guided explore network is reset once the evidence of harm is 1/α; in vain in at most α of the duels",
        low=1e-9,
        high=0.5,
    )
    es_sigma: float = parameter(0.02, "σ", "spread of the antithetic directions of 'es'", low=1e-9)
    es_rate: float = parameter(0.01, "", "learning rate of 'es' (Adam)", low=0)

    # Hold-back
    holdback_share: float = parameter(
        0.02,
        "",
        "of the lists: half by a frozen version, half by current alone (docs/decisions/0011); 0 switches it off",
        low=0,
        high=1,
    )
    holdback_period: float = parameter(
        3 * 86_400.0, "", "the frozen version is replaced after this, or when current is better", low=1
    )
    rollback_alpha: float = parameter(
        0.01,
        "α",
        "current is rolled back once the evidence that it lost is 1/α; wrongly in at most one of 1/α periods",
        low=1e-9,
        high=0.5,
    )

    # Minor updates
    minor_period: float = parameter(1_800.0, "T_D", f"{DRN} §4.1", low=0.1)
    minor_impressions: int = parameter(1, "", "fewest closed impressions that a minor update needs", low=1)
    feedback_window: float = parameter(600.0, "", "an impression closes this long after it was served", low=0)

    # Major updates
    major_period: float = parameter(3_600.0, "T_R", f"{DRN} §4.1", low=0.1)
    major_impressions: int = parameter(100, "", "fewest impressions in replay that a major update needs", low=1)
    replay_impressions: int = parameter(20_000, "", "newest closed impressions kept in replay", low=1)
    replay_half_life: float = parameter(2 * 86_400.0, "", "recency weighting of replay", low=1)
    major_epochs: float = parameter(
        24.0, "", "passes over what is new since the last major update, drawn from all of replay, once replay is long", low=1e-9
    )
    major_halfway: int = parameter(
        1_000,
        "",
        "usable lists in replay with which half of major_epochs are made: few are soon learned by heart; 0: always all",
        low=0,
    )
    major_batch: int = parameter(128, "", "impressions per gradient step", low=1)
    major_rate: float = parameter(
        6e-3, "", "learning rate with which a major update begins (Adam); it falls to 0 linearly", low=0
    )
    major_average: int = parameter(
        600,
        "",
        "lists: after n new ones W goes n / (n + this) of the way to what it was retrained to, an average over retrainings "
        "[Zhang et al. 2019]; 0: all of it",
        low=0,
    )
    table_rate: float = parameter(0.1, "", "share of the rate with which A learns one-hot properties, each seen seldom", low=0)
    listwise_weight: float = parameter(100.0, "", "weight of the listwise loss beside the TD loss; 0 is the paper's", low=0)
    gate: Gate = parameter("offline", "", "what a retrained network must pass: newest held-out hours, a duel, or nothing")
    gate_share: float = parameter(0.05, "", "newest share of replay held out for the offline gate", low=0, high=0.5)
    gate_lists: int = parameter(
        150, "", "at most so many, however long replay is: enough to tell harm, and the first steps are without them", low=1
    )
    gate_z: float = parameter(
        -3.0, "", "the offline gate refuses a network whose mean advantage over current has a lower z", high=0
    )

    def __post_init__(self) -> None:
        for spec in fields(self):
            if spec.type in FORMS:
                check_form(spec.name, getattr(self, spec.name), spec.type)
                check(spec.name, getattr(self, spec.name), spec.metadata["low"], spec.metadata["high"])
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InvalidConfig(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        if self.content_slots > MOST_CONTENT_SLOTS:
            raise InvalidConfig(f"the content slots are {self.content_slots} in all; they must be at most {MOST_CONTENT_SLOTS}")
        if self.gate == "duel" and self.direction != "guided":
            raise InvalidConfig(
                f"gate is 'duel', which direction {self.direction!r} cannot hold: its wins move current by a step"
            )
        if self.minor_impressions > self.replay_impressions:
            raise InvalidConfig("minor_impressions is larger than replay_impressions")

    @classmethod
    def profile(cls, name: Profile, **changes: Any) -> "Config":
        """The named set of defaults, with changes on top.

        Raises:
            InvalidConfig: no such profile or parameter, or a value of another type or out of range.
        """
        if name not in PROFILES:
            raise InvalidConfig(f"no profile {name!r}; there are {', '.join(PROFILES)}")
        known = {spec.name for spec in fields(cls)}
        if unknown := set(changes) - known:
            raise InvalidConfig(f"no such hyper-parameter: {', '.join(sorted(unknown))}")
        return replace(cls(), **{**PROFILES[name], **changes})

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """Reads what `to_json` wrote, at any time: before there was `list_pooling` networks had none, and τ did not change."""
        stored = {name: value for name, value in json.loads(text).items() if name not in RETIRED}
        values = {"list_pooling": "none", "tau_trained": stored["tau"], **stored}
        for name in ("advantage_layers", "value_layers"):
            values[name] = tuple(values[name])
        return cls.profile("default", **values)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change when any hyper-parameter does."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def pools_lists(self) -> bool:
        """Whether A has a second layer, and it sees the list's mean of the first one."""
        return self.list_pooling == "mean" and len(self.advantage_layers) > 1

    @property
    def content_slots(self) -> int:
        """C: the length of the content one-hots (412 in the paper)."""
        return self.provider_slots + self.category_slots + self.topic_slots + self.entity_slots + self.word_slots


def check_form(name: str, value: Any, annotation: Any) -> None:
    """Raises InvalidConfig unless `value` is what the field's annotation says."""
    words, fits = FORMS[annotation]
    if not fits(value):
        raise InvalidConfig(f"{name} is {value!r}; it must be {words}")


def is_whole(value: Any) -> bool:
    """Whether it is an integer; JSON's true and false, which Python counts among them, are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return is_whole(value) or isinstance(value, float)


def is_layers(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(is_whole(width) and width > 0 for width in value)


def is_rewards(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) and is_number(each) for key, each in value.items())


def check(name: str, value: Any, low: float | None, high: float | None) -> None:
    """Raises InvalidConfig unless every number in `value` is finite and within [low, high]."""
    numbers = value if isinstance(value, tuple) else value.values() if isinstance(value, Mapping) else (value,)
    for number in numbers:
        if not (float("-inf") < number < float("inf")):
            raise InvalidConfig(f"{name} is {number}; it must be finite")
        if low is not None and number < low:
            raise InvalidConfig(f"{name} is {number}; it must be at least {low}")
        if high is not None and number > high:
            raise InvalidConfig(f"{name} is {number}; it must be at most {high}")


# By annotation, what a value must be. Strings have CHOICES.
FORMS: Mapping[Any, tuple[str, Callable[[Any], bool]]] = {
    int: ("a whole number", is_whole),
    float: ("a number", is_number),
    tuple[int, ...]: ("a list of one or more whole numbers, each at least 1", is_layers),
    Mapping[str, float]: ("numbers by event name", is_rewards),
}

CHOICES: Mapping[str, tuple[str, ...]] = {
    "features": ("all", "paper"),
    "direction": ("guided", "random", "es"),
    "gate": ("offline", "duel", "none"),
    "activation": ("hardswish", "relu", "sigmoid"),
    "list_pooling": ("mean", "none"),
    "start": ("informed", "chance"),
    "activeness": ("increment", "level", "off"),
}

PROFILES: Mapping[Profile, Mapping[str, Any]] = {
    "default": {},
    # A person who starts the demo sees a minor update within a minute and a major one within five.
    "demo": {
        "minor_period": 10.0,
        "major_period": 120.0,
        "feedback_window": 5.0,
        "session_gap": 60.0,
        "return_horizon": 3_600.0,
        "return_hazard": 2.9e-4,
        "duel_window": 100,
        "holdback_share": 0.1,
        "holdback_period": 900.0,
    },
    # The published settings: a start by chance, a random direction judged every T_D, retraining on TD loss alone,
    # activeness as a level. What the paper leaves open is as by default, or as it suits the TD loss better.
    "paper": {
        "direction": "random",
        "minor_period": 1_800.0,
        "major_period": 3_600.0,
        "gamma": 0.4,
        "beta": 0.05,
        "alpha": 0.1,
        "eta": 0.05,
        "tau_trained": 3.0,
        "activeness": "level",
        "listwise_weight": 0.0,
        "major_halfway": 0,
        "major_batch": 64,
        "major_rate": 3e-3,
        "gate": "none",
        "start": "chance",
        "activation": "relu",
        "list_pooling": "none",
        "event_rewards": {},
    },
}


def reference() -> list[dict[str, str]]:
    """One row per hyper-parameter: name, symbol, its value in each profile, source. docs/reference is made of it."""
    profiles = {name: Config.profile(name) for name in PROFILES}
    return [
        {
            "name": spec.name,
            "symbol": cast("str", spec.metadata["symbol"]),
            **{name: json.dumps(getattr(profile, spec.name)) for name, profile in profiles.items()},
            "source": cast("str", spec.metadata["source"]),
        }
        for spec in fields(Config)
    ]
