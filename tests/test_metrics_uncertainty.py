"""Rank correlation and AUSE against SciPy and against a sum by hand."""

import pytest
import torch
from scipy.stats import spearmanr

from scorereg.metrics import ause, rank_correlation


def test_rank_correlation_is_scipys_with_ties():
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 20, (300,), generator=generator).float()
    b = a + torch.randint(0, 30, (300,), generator=generator)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.numpy(), b.numpy()).statistic, abs=1e-9)
    assert rank_correlation(a, torch.ones(300)) is None


def test_ause_by_hand():
    error = torch.tensor([4.0, 3.0, 2.0, 1.0])
    mean = 2.5  # of what is left, with 4, 3, 2 and 1 of the pixels
    best, worst, same = (1.0 + 1.5 + 2.0 + 2.5) / 4, (4.0 + 3.5 + 3.0 + 2.5) / 4, 2.5
    assert ause(error, error) == pytest.approx(0, abs=1e-12)
    assert ause(-error, error) == pytest.approx((worst - best) / mean, rel=0.03)
    assert ause(torch.ones(4), error) == pytest.approx((same - best) / mean, rel=0.03)
    assert ause(error, torch.zeros(4)) is None


def test_unusable_values_are_refused(as_user):
    with pytest.raises(ValueError, match="finite"):
        ause(torch.tensor([float("nan")]), torch.ones(1))
    with pytest.raises(ValueError, match="of the same pixels"):
        rank_correlation(torch.ones(2), torch.ones(3))
