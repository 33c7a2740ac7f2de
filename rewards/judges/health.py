"""A judge that cannot judge is caught: what its verdicts look like over a run, with figures.

>>> health = Health()
>>> for _ in range(30):
...     health.observe_verdict("paper", {"integrity": 0.6, "knowledge": 1.0})
>>> health.warnings()[0]
'judge health (paper): the same verdict in 30 of 30 replies (100.0 %): this judge may not read what it is given'

Counters only, so memory does not grow with the number of samples. Two real small models returned exactly the example
of the prompt for a perfect, an empty and a wrong chain; that is what these figures are for. Standard library only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

MIN_REPLIES = 20
"""Below this number of verdicts nothing is claimed."""
MAX_CONSTANT, MAX_EXAMPLE, MAX_OFF_LATTICE = 0.95, 0.2, 0.05
_MAX_DISTINCT = 4_096


class Health:
    """Streaming figures of one judge, by protocol.

    `exact`: the judge computes its verdicts from known facts; a run of equal ones is then no sign of sleep, and
    `warnings` stays empty.
    """

    def __init__(self, exact: bool = False) -> None:
        self.exact = exact
        self.replies: Counter[str] = Counter()
        self.examples: Counter[str] = Counter()
        self.off_lattice: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.flagged: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.verdicts: dict[str, Counter[tuple[Any, ...]]] = {}

    def observe_request(self, protocol: str, flags: Iterable[str]) -> None:
        """Count a request and whether the injection detector fired on its text."""
        self.requests[protocol] += 1
        self.flagged[protocol] += bool(tuple(flags))

    def observe_failure(self, protocol: str, failure: str) -> None:
        """Count a request that ended without a verdict."""
        self.failures[protocol, failure] += 1

    def observe_verdict(
        self,
        protocol: str,
        values: Mapping[str, Any],
        *,
        example: Mapping[str, Any] | None = None,
        evidence: Mapping[str, str] | None = None,
        lattice: tuple[float, ...] | None = None,
    ) -> None:
        """Count one verdict: `values` as read, `example` as the prompt shows it."""
        self.replies[protocol] += 1
        distinct = self.verdicts.setdefault(protocol, Counter())
        key = tuple(values.values())
        if key in distinct or len(distinct) < _MAX_DISTINCT:
            distinct[key] += 1
        if example is not None:
            if evidence is None:
                copied = dict(values) == dict(example)
            else:  # events: the placeholder evidence of the example gives copying away
                shown = {name: event["evidence"] for name, event in example.items()}
                copied = any(evidence.get(name) == text for name, text in shown.items())
            self.examples[protocol] += copied
        if lattice is not None:
            self.off_lattice[protocol] += any(all(abs(v - point) > 1e-6 for point in lattice) for v in values.values())

    def summary(self) -> dict[str, dict[str, Any]]:
        """Figures by protocol: n, constant, example, off_lattice, flagged (shares in [0, 1]) and failures by name."""
        out: dict[str, dict[str, Any]] = {}
        for protocol in sorted({*self.replies, *self.requests}):
            n = self.replies[protocol]
            top = self.verdicts.get(protocol, Counter()).most_common(1)
            out[protocol] = {
                "n": n,
                "constant": top[0][1] / n if n and top else None,
                "example": self.examples[protocol] / n if n else None,
                "off_lattice": self.off_lattice[protocol] / n if n else None,
                "flagged": self.flagged[protocol] / self.requests[protocol] if self.requests[protocol] else None,
                "failures": {name: k for (of, name), k in sorted(self.failures.items()) if of == protocol},
            }
        return out

    def warnings(self) -> list[str]:
        """One sentence with figures for each sign that the judge does not judge; empty when there is none."""
        out: list[str] = []
        if self.exact:
            return out
        for protocol, n in sorted(self.replies.items()):
            if n < MIN_REPLIES:
                continue
            k = self.verdicts[protocol].most_common(1)[0][1]
            for count, limit, what in (
                (k, MAX_CONSTANT,
                 "the same verdict in {} of {} replies ({:.1f} %): this judge may not read what it is given"),
                (self.examples[protocol], MAX_EXAMPLE,
                 "the example of the prompt came back in {} of {} replies ({:.1f} %): this judge copies it"),
                (self.off_lattice[protocol], MAX_OFF_LATTICE,
                 "values the rubric cannot give in {} of {} replies ({:.1f} %): this judge does not follow it"),
            ):
                if count / n > limit:
                    out.append(f"judge health ({protocol}): " + what.format(count, n, 100 * count / n))
        return out
