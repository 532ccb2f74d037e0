"""What a server tells Prometheus, under vLLM's names where it has one."""

from __future__ import annotations

import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from langwright.backend import Event

_FIRST = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.5, 5, 10, 20, 40, 80)
_BETWEEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_WHOLE = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)


class Metrics:
    """Of one server; `model` is a label of all."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        by = ["model_name"]

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, by, registry=self._registry)

        def counter(name: str, text: str, *more: str) -> Counter:
            return Counter(name, text, [*by, *more], registry=self._registry)

        def seconds(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, by, buckets=buckets, registry=self._registry)

        self.running = gauge("vllm:num_requests_running", "Calls that are being answered.")
        self.waiting = gauge("vllm:num_requests_waiting", "Calls that wait.")
        self.prompt = counter("vllm:prompt_tokens", "Tokens of prompts.")
        self.cached = counter("vllm:prefix_cache_hits", "Tokens of prompts known beforehand.")
        self.drawn = counter("vllm:generation_tokens", "Tokens drawn.")
        self.ended = counter("vllm:request_success", "Answers, by their end.", "finished_reason")
        self.queued = seconds("vllm:request_queue_time_seconds", "Until its turn.", _WHOLE)
        self.first = seconds("vllm:time_to_first_token_seconds", "Until the first token.", _FIRST)
        self.between = seconds("vllm:inter_token_latency_seconds", "Between tokens.", _BETWEEN)
        self.whole = seconds("vllm:e2e_request_latency_seconds", "The whole call.", _WHOLE)
        self.failed = Counter(
            "langwright:failures", "Calls that failed.", ["status"], registry=self._registry
        )
        self.loaded = gauge("langwright:model_bytes", "Memory that a loaded model's weights take.")

    def text(self) -> bytes:
        return generate_latest(self._registry)


class Watch:
    """The clock of one call, from its arrival on."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._metrics, self._model = metrics, model
        self._begun = self._last = time.perf_counter()
        self._any = False

    def turn(self) -> None:
        """It is its turn."""
        self._metrics.queued.labels(self._model).observe(time.perf_counter() - self._begun)

    def saw(self, event: Event) -> None:
        now = time.perf_counter()
        if event.token_ids or event.text:
            which = self._metrics.between if self._any else self._metrics.first
            which.labels(self._model).observe(now - (self._last if self._any else self._begun))
            self._any, self._last = True, now
        if event.finish_reason is not None:
            self._metrics.ended.labels(self._model, event.finish_reason).inc()
            if event.usage:
                if not event.index:
                    self._metrics.prompt.labels(self._model).inc(event.usage.prompt_tokens)
                    self._metrics.cached.labels(self._model).inc(event.usage.cached_tokens)
                self._metrics.drawn.labels(self._model).inc(event.usage.completion_tokens)

    def over(self) -> None:
        self._metrics.whole.labels(self._model).observe(time.perf_counter() - self._begun)
