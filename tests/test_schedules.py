"""Schedules against their closed forms."""

import math
import pickle
from itertools import pairwise

import pytest

from scorereg import schedules

SHAPES = [schedules.linear, schedules.log_linear, schedules.cosine]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("first", "last"), [(0.17, 0.0139), (0.1, 0.7)])
def test_ends_are_exact_and_the_way_is_monotone(shape, first, last):
    at = shape(first, last, 100, 300)
    assert at(0) == at(100) == first
    assert at(300) == at(10_000) == last
    values = [at(step) for step in range(100, 301)]
    assert values == sorted(values, reverse=last < first)
    assert len(set(values)) == 201


def test_midpoints():
    assert schedules.linear(1, 3, 0, 10)(5) == pytest.approx(2)
    assert schedules.linear(1, 3, 0, 10)(2) == pytest.approx(1.4)
    assert schedules.log_linear(1, 4, 0, 10)(5) == pytest.approx(2)
    assert schedules.log_linear(1, 16, 0, 4)(1) == pytest.approx(2)
    assert schedules.cosine(1, 3, 0, 10)(5) == pytest.approx(2)
    assert schedules.cosine(0, 1, 0, 3)(1) == pytest.approx(0.25)
    assert schedules.constant(4)(123) == 4.0


def test_the_name_is_the_call():
    made = {
        "constant(0.3)": schedules.constant(0.3),
        "linear(0.1, 2, 5, 10)": schedules.linear(0.1, 2, 5, 10),
        "log_linear(0.2, 0.02, 0, 1000)": schedules.log_linear(0.2, 0.02, 0, 1000),
        "cosine(1, 0, 0, 4)": schedules.cosine(1, 0, 0, 4),
        "ramp(0.3, 5, 8)": schedules.ramp(0.3, 5, 8),
        "diffusionerf(50, 250)": schedules.diffusionerf(50, 250),
    }
    for name, schedule in made.items():
        assert schedule.__name__ == name
        assert repr(schedule) == name
        assert pickle.loads(pickle.dumps(schedule))(7) == schedule(7)


def test_ramp_is_exactly_zero_until_it_starts():
    at = schedules.ramp(0.3, 5, 8)
    assert [at(step) for step in range(6)] == [0.0] * 6
    assert at(6) == pytest.approx(0.1)
    assert at(8) == at(99) == 0.3


def table(times: int = 1000) -> list[float]:
    """Sigma of every time, by the loop over betas that defines the table."""
    f = [math.cos((i / times + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(times + 1)]
    sigmas, alpha_bar = [], 1.0
    for now, after in pairwise(f):
        alpha_bar *= 1 - min(1 - after / now, 0.999)
        sigmas.append(math.sqrt((1 - alpha_bar) / alpha_bar))
    return sigmas


def test_diffusionerf_is_the_papers():
    at, sigma = schedules.diffusionerf(), table()
    assert at(0) == at(500) == pytest.approx(sigma[99], rel=1e-12)
    assert at(2500) == at(9999) == pytest.approx(sigma[3], rel=1e-12)
    assert at(0) == pytest.approx(0.1694, abs=1e-4)
    assert at(2500) == pytest.approx(0.0139, abs=1e-4)
    ladder = [sigma[t] for t in range(99, 2, -4)]  # every fourth time
    assert sorted({at(step) for step in range(3000)}, reverse=True) == pytest.approx(ladder, rel=1e-12)


def test_diffusionerf_can_be_moved():
    at = schedules.diffusionerf(start=50, end=250)
    assert [at(step) for step in range(0, 300, 10)] == [
        schedules.diffusionerf()(10 * step) for step in range(0, 300, 10)
    ]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: schedules.linear(1, 2, 10, 10), r"end after it starts, but got start=10 and end=10.*`constant`"),
        (lambda: schedules.cosine(1, 2, 10, 5), "end after it starts"),
        (lambda: schedules.ramp(1, 10, 5), "end after it starts"),
        (lambda: schedules.diffusionerf(7, 7), "end after it starts"),
        (lambda: schedules.log_linear(1, 0, 0, 5), r"log_linear needs values > 0, got 1 and 0.*`linear`"),
        (lambda: schedules.linear(1, math.nan, 0, 5), "`last` is nan"),
        (lambda: schedules.constant(math.inf), "`value` is inf"),
    ],
)
def test_mistakes_are_named(build, says):
    with pytest.raises(ValueError, match=says):
        build()
