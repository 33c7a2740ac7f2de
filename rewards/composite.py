"""From the values of parts to one total: weighted sum, weighted mean, product, gate; and what missing does to each.

>>> from rewards.spec import read
>>> spec = read({"parts": {"format": {}, "accuracy": {"weight": 2.0}}})
>>> total(spec, {"format": 1.0, "accuracy": 0.5}), total(spec, {"format": 1.0, "accuracy": None})
(2.0, None)

    sum        w1 v1 + w2 v2 + ...          the paper: weights 1
    mean       sum / (w1 + w2 + ...)
    product    v1 v2 ...
    gate       0 unless every member named in `gate` reaches `gate_at`; then the sum of the others (MedVLThinker)

Missing is not zero. A required member without a value makes the total None. An optional one is left out: a sum or mean
is taken over the members that are there and rescaled to the full weight (as if the missing one had their mean, so that
an outage neither punishes nor rewards an answer), a product goes without the factor. Without any value: None.
A member of weight 0 is reported and changes nothing, missing or not. Standard library and `rewards.spec` only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from rewards.spec import Group


def total(group: Group, values: Mapping[str, float | None]) -> float | None:
    """The value of a group from the values of its members by label; None when it is missing."""
    gates, present, full_weight = [], [], 0.0
    for label, member in group.parts.items():
        value = values[label]
        if label in group.gate:
            gates.append(value)
        elif member.weight > 0:
            full_weight += member.weight
            if value is not None:
                present.append((member.weight, value))
            elif member.required:
                return None
    if any(value is None for value in gates) or not present:
        return None
    if any(value is not None and value < group.gate_at for value in gates):
        return 0.0
    if group.combine == "product":
        return math.prod(value for _, value in present)
    weighted = math.fsum(weight * value for weight, value in present)
    weight = math.fsum(weight for weight, _ in present)
    if group.combine == "mean":
        return weighted / weight
    return weighted if len(present) == 1 and weight == full_weight else weighted * (full_weight / weight)
