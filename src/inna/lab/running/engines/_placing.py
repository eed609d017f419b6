"""Which processor or GPU a run is placed on."""

import math
import os
from collections import Counter
from collections.abc import Collection

__all__ = ["free_slot", "gpu_share", "processors"]


def processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def free_slot(taken: Collection[int], slots: int, devices: int) -> int:
    """The free slot whose device has the fewest runs; slot i lies on device i mod `devices`.

    Example:
        >>> free_slot({0}, slots=4, devices=2), free_slot({0, 1, 3}, slots=4, devices=2)
        (1, 2)
    """
    load = Counter(slot % devices for slot in taken)
    free = [slot for slot in range(slots) if slot not in taken]
    return min(free, key=lambda slot: (load[slot % devices], slot))


def gpu_share(jobs: int | None, devices: int) -> float:
    """The part of a GPU that a run asks for, so that `jobs` runs fit on all of them: a whole one at most.

    Example:
        >>> gpu_share(None, devices=2), gpu_share(2, devices=2), gpu_share(5, devices=2)
        (1.0, 1.0, 0.3333333333333333)
    """
    return 1 / max(1, math.ceil((jobs or 1) / max(1, devices)))
