"""A schedule of each family, and whether Assumption 1 admits it."""

from inna.schedules import (
    Schedule,
    constant,
    cosine,
    drops,
    exponential,
    inverse_k_log,
    linear,
    log_power,
    power,
    warmup,
)

VERDICTS: list[tuple[Schedule, bool]] = [
    (power(0), False),
    (power(1 / 16), True),
    (power(1 / 8), True),
    (power(1 / 4), True),
    (power(1 / 2), True),
    (power(1), True),
    (power(1.1), False),
    (power(2), False),
    (log_power(0.5), False),
    (log_power(1), False),
    (log_power(1.1), True),
    (log_power(2), True),
    (inverse_k_log(), True),
    (constant(), False),
    (exponential(0.999), False),
    (linear(100), False),
    (cosine(100), False),
    (drops([30, 60]), False),
    (drops([]), False),
]
VERDICTS += [(warmup(10, schedule), verdict) for schedule, verdict in VERDICTS]
VERDICTS += [(warmup(5, warmup(7, power(0.5))), True), (warmup(5, warmup(7, constant())), False)]
FAMILIES = [schedule for schedule, _ in VERDICTS]
