"""Student's t intervals of a mean."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

# Student's t, two-sided 95 %, for 1 … 30 degrees of freedom
T95: tuple[float, ...] = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
)
T95 += (2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


def student(freedom: int) -> float:
    """The two-sided 95 % quantile; the normal one beyond 30 degrees of freedom."""
    return T95[freedom - 1] if freedom <= len(T95) else 1.96


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half its 95 % interval: t · s / √n; NaN from fewer than two values."""
    if len(values) < 2:
        return (float(values[0]) if values else float("nan")), float("nan")
    return float(np.mean(values)), student(len(values) - 1) * float(np.std(values, ddof=1)) / sqrt(len(values))
