"""What `/metrics` shows. One registry per application, so that two in one process do not add up."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

# Seconds. Finer below 25 ms, where the promised p50 and p99 of /rank lie.
LATENCY = (0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The service's own figures; labels are bounded by the code (routes, not paths)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("drn_http_requests_total", "HTTP requests answered", "route", "method", "status")
        self.seconds = Histogram(
            "drn_http_request_seconds", "Time to answer", ("route",), buckets=LATENCY, registry=self.registry
        )
        self._answers: dict[tuple[str, str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}
        self.impressions = self._counter("drn_impressions_total", "Lists served and logged")
        self.candidates = Histogram(
            "drn_rank_candidates",
            "Rankable candidates per list",
            buckets=(1, 10, 30, 100, 300, 1_000, 3_000, 10_000),
            registry=self.registry,
        )
        self.fallbacks = self._counter("drn_fallbacks_total", "Lists served by something simpler than asked for")
        self.events = self._counter("drn_feedback_events_total", "Feedback events committed", "type")
        self.duplicates = self._counter("drn_feedback_duplicates_total", "Feedback events that were stored before")
        self.swaps = self._counter("drn_version_swaps_total", "Times a newer version was taken into service")
        self.follow_failures = self._counter("drn_follow_failures_total", "Times the log could not be followed")

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts and times one answer. Looking a label up costs more than counting, so what was looked up is kept."""
        key = (route, method, status)
        if (found := self._answers.get(key)) is None:
            counter, histogram = self.requests.labels(route, method, str(status)), self.seconds.labels(route)
            found = self._answers[key] = (counter.inc, histogram.observe)
        count, time = found
        count()
        time(seconds)

    def gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """A figure that is read when it is asked for."""
        Gauge(name, help_text, registry=self.registry).set_function(read)

    def exposition(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)
