"""Dealing questions into splits: groups of one image stay together, sources and answer letters stay in proportion.

>>> sorted(i for part in deal("abab", [0, 0, 1, 2], {"sft": 2, "test": 2}, seed=0).values() for i in part)
[0, 1, 2, 3]

Works on indices and labels only; knows nothing of images or files. Must not import PIL.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence


def deal(strata: Sequence[Hashable], groups: Sequence[int], sizes: Mapping[str, int],
         seed: int) -> dict[str, list[int]]:
    """Indices for each split, exactly `sizes` many; no group is in two splits.

    Groups are dealt largest first (ties in seeded order), each to the split whose shares of the strata it improves
    most. A group too large for what is left gives the split only some of its members; the others stay unused, so no
    image crosses over. Raises: ValueError when the sizes cannot be reached, naming the split that fell short.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    pool = Counter(strata)
    target = {name: {key: n * size / len(strata) for key, n in pool.items()} for name, size in sizes.items()}
    have: dict[str, Counter[Hashable]] = {name: Counter() for name in sizes}
    dealt: dict[str, list[int]] = {name: [] for name in sizes}
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))

    def cost(name: str, gained: Counter[Hashable]) -> float:
        """Growth of the squared distance to the split's target, relative to the target."""
        wanted, had = target[name], have[name]
        return sum(((had[k] + n - wanted[k]) ** 2 - (had[k] - wanted[k]) ** 2) / (wanted[k] + 1)
                   for k, n in gained.items())

    for group in order:
        room = {name: size - len(dealt[name]) for name, size in sizes.items()}
        if not any(room.values()):
            break
        indices = members[group]
        gained = Counter(strata[i] for i in indices)
        fitting = [name for name in sizes if room[name] >= len(indices)]
        if fitting:
            name = min(fitting, key=lambda split: (cost(split, gained), -room[split]))
        else:
            name = max(room, key=lambda split: room[split])
            indices = indices[: room[name]]
        dealt[name].extend(indices)
        have[name].update(strata[i] for i in indices)
    short = {name: size - len(dealt[name]) for name, size in sizes.items() if len(dealt[name]) < size}
    if short:
        name, missing = next(iter(short.items()))
        raise ValueError(f"{name} would have {sizes[name] - missing} of {sizes[name]} questions")
    return dealt


def interleave(indices: Sequence[int], strata: Sequence[Hashable], seed: int) -> list[int]:
    """The same indices in an order in which every prefix holds each stratum in proportion.

    The first 500 of 3,000 are then a balanced subset, and the first 1,000 contain them: nested subsets are prefixes.
    """
    rng = random.Random(seed)
    by_stratum: dict[Hashable, list[int]] = defaultdict(list)
    for index in sorted(indices):
        by_stratum[strata[index]].append(index)
    ranked: list[tuple[float, float, int]] = []
    for key in sorted(by_stratum, key=repr):
        found = by_stratum[key]
        rng.shuffle(found)
        offset = rng.random()
        ranked += [((place + offset) / len(found), rng.random(), index) for place, index in enumerate(found)]
    return [index for *_, index in sorted(ranked)]
