"""What is said of denoising errors at the end of a run."""

from scorereg.evaluation import error_lines


def row(sigma, **ratios):
    return {"sigma": sigma, **{f"{name}_ratio": value for name, value in ratios.items()}}


def test_a_prior_that_is_worse_is_told_so():
    lines = error_lines([row(0.1, rgb=0.9, disparity=1.2), row(0.5, rgb=1.004, disparity=2.5)], "held-out")
    assert lines[0] == "squared denoising error on held-out, as a ratio to the best linear filter's:"
    assert [line.split() for line in lines[1:4]] == [
        ["sigma", "0.1", "0.5"], ["rgb", "0.90", "1.00"], ["disparity", "1.20", "2.50"],
    ]  # fmt: skip
    assert lines[-1].strip() == (
        "The prior is worse than a linear filter: disparity at sigma 0.1, 0.5. Train it longer, or on more data."
    )


def test_a_prior_that_is_not_is_told_so():
    assert error_lines([row(0.1, rgb=0.9)], "x")[-1].strip() == "The prior is nowhere worse than a linear filter."
