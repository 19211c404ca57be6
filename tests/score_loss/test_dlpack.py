"""ScoreLoss.gradient: an array of the same library and type, with the gradient that torch gets."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, ScoreLoss

LLVM = Path("/usr/lib/x86_64-linux-gnu/libLLVM.so.19.1")
PRIOR = GaussianFieldPrior(size=8, channels=("r", "g", "b", "disparity")).double()
LOSS = ScoreLoss(PRIOR, sigma=0.3)


def patch(dtype=np.float64):
    return np.random.default_rng(0).normal(size=(3, 4, 8, 8)).astype(dtype)


def expected(x: np.ndarray, *args, **kwargs) -> np.ndarray:
    leaf = torch.tensor(np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))).requires_grad_()
    (g,) = torch.autograd.grad(LOSS(leaf, *args, **kwargs), leaf)
    return g.numpy()


# NumPy and torch


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8"])
def test_numpy_keeps_its_type(dtype):
    x = patch(dtype)
    g = LOSS.gradient(x)
    assert isinstance(g, np.ndarray)
    assert g.dtype == x.dtype.newbyteorder("=")
    assert g.flags.writeable
    np.testing.assert_array_equal(g, expected(x))


def test_numpy_arrays_that_torch_cannot_share():
    frozen = patch()
    frozen.flags.writeable = False
    transposed = np.swapaxes(patch(), 2, 3)
    for x in (frozen, transposed, patch()[:, :, ::-1], np.repeat(patch(), 2, axis=0)[::2]):
        before = x.copy()
        np.testing.assert_array_equal(LOSS.gradient(x), expected(x))
        np.testing.assert_array_equal(x, before)


def test_the_result_is_not_the_input():
    x = patch()
    g = ScoreLoss(PRIOR, sigma=0.3, weight=0.0).gradient(x)
    assert not np.shares_memory(g, x)
    assert (g == 0).all()


def test_sigma_and_known_may_be_arrays():
    x, sigma, known = patch(), np.array([0.05, 0.3, 2.0]), np.random.default_rng(1).random((3, 1, 8, 8)) < 0.5
    g = LOSS.gradient(x, sigma, known=known)
    np.testing.assert_allclose(g, expected(x, torch.from_numpy(sigma), known=torch.from_numpy(known)))
    assert (g[np.broadcast_to(known, x.shape)] == 0).all()
    np.testing.assert_array_equal(LOSS.gradient(x, np.float64(0.1)), expected(x, 0.1))
    np.testing.assert_allclose(LOSS.gradient(x, np.array(0.1)), expected(x, 0.1))


def test_step_and_generator_are_handed_on():
    x = patch()
    loss = ScoreLoss(PRIOR, sigma=lambda step: 0.1 * step, perturb=True)
    seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
    leaf = torch.from_numpy(x).requires_grad_()
    (exact,) = torch.autograd.grad(loss(leaf, step=2, generator=seeds[0]), leaf)
    np.testing.assert_array_equal(loss.gradient(x, step=2, generator=seeds[1]), exact.numpy())


def test_a_tensor_gets_a_tensor_without_a_graph():
    x = torch.from_numpy(patch()).requires_grad_()
    g = LOSS.gradient(2 * x)
    assert not g.requires_grad
    assert_close(g, torch.from_numpy(expected(2 * patch())))
    assert LOSS.gradient(x.detach().bfloat16()).dtype == torch.bfloat16


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("array", "says"),
    [
        ([[1.0]], "must be an array that speaks DLPack .* but it is a list. .*numpy.asarray"),
        (0.5, "is a float"),
        (np.float32(3), "is a float32|batch of at least one patch"),
        (np.array(3.0), r"batch of at least one patch, .* got shape \(\)"),
        (np.ones((1, 4, 8, 8), int), "floating-point numbers, but got torch.int64"),
        (np.ones((1, 4, 8, 8), complex), "floating-point numbers, but got torch.complex128"),
        (np.ones((1, 4, 8, 8), object), "`array`, a ndarray, cannot be read as a tensor"),
        (np.ones((1, 3, 8, 8)), "3 channels, but the prior knows 4"),
        (np.full((1, 4, 8, 8), np.nan), "not finite: 256 of 256 values"),
    ],
    ids=str,
)
def test_mistakes_are_named(array, says):
    with pytest.raises(ValueError, match=says):
        LOSS.gradient(array)


# a budget


def test_a_share_of_the_datas_gradient():
    x, data = patch(), np.random.default_rng(2).normal(size=(3, 4, 8, 8))
    loss = ScoreLoss(PRIOR, sigma=0.3, budget=0.5)
    g = loss.gradient(x, data=data)
    for i in range(3):
        for group in (slice(0, 3), slice(3, 4)):
            ratio = np.linalg.norm(g[i, group]) / np.linalg.norm(data[i, group])
            np.testing.assert_allclose(ratio, 0.5)
            cosine = (g[i, group] * expected(x)[i, group]).sum() / np.linalg.norm(g[i, group])
            np.testing.assert_allclose(cosine, np.linalg.norm(expected(x)[i, group]))
    assert loss.last is not None
    np.testing.assert_allclose(loss.last.ratio, 0.5)
    np.testing.assert_allclose(loss.last.data_norm, np.linalg.norm(data))
    with pytest.raises(ValueError, match=r"gradient of the data: loss.gradient\(patch, data=...\)"):
        loss.gradient(x)


def test_data_without_a_budget_is_only_reported():
    x, data, loss = patch(), patch(), ScoreLoss(PRIOR, sigma=0.3)
    np.testing.assert_array_equal(loss.gradient(x, data=data), expected(x))
    assert loss.last is not None
    cosine = (data * expected(x)).sum() / np.linalg.norm(data) / np.linalg.norm(expected(x))
    np.testing.assert_allclose(loss.last.cosine, cosine)


# other libraries


def test_jax():
    pytest.importorskip("jax")
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(patch("float32"))
    g = LOSS.gradient(x, known=jnp.zeros((3, 4, 1, 1), bool))
    assert isinstance(g, jax.Array)
    assert g.dtype == x.dtype
    assert g.devices() == x.devices()
    np.testing.assert_array_equal(np.asarray(g), expected(patch("float32")))
    half = LOSS.gradient(x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    turned = jnp.swapaxes(x, 2, 3)
    np.testing.assert_array_equal(np.asarray(LOSS.gradient(turned)), expected(np.asarray(turned)))


def test_jax_under_a_transformation_is_an_error_with_the_cure():
    pytest.importorskip("jax")
    import jax
    import jax.numpy as jnp

    x = jnp.asarray(patch("float32"))
    with pytest.raises(ValueError, match="call through jax.pure_callback"):
        jax.jit(LOSS.gradient)(x)
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    g = jax.jit(lambda x: jax.pure_callback(LOSS.gradient, shape, x))(x)
    np.testing.assert_array_equal(np.asarray(g), expected(patch("float32")))


def test_drjit():
    pytest.importorskip("drjit")
    if "DRJIT_LIBLLVM_PATH" not in os.environ and LLVM.exists():
        os.environ["DRJIT_LIBLLVM_PATH"] = str(LLVM)
    import drjit as dr
    from drjit.llvm.ad import Float, TensorXf

    try:
        flat = Float(patch("float32").ravel())
    except RuntimeError as error:
        pytest.skip(f"Dr.Jit finds no LLVM: {error}")
    x = TensorXf(flat, (3, 4, 8, 8))
    dr.enable_grad(x)
    g = LOSS.gradient(x * 1)
    assert isinstance(g, TensorXf)
    assert g.shape == (3, 4, 8, 8)
    np.testing.assert_array_equal(g.numpy(), expected(patch("float32")))
    y = 2 * x
    dr.set_grad(y, LOSS.gradient(y))
    dr.enqueue(dr.ADMode.Backward, y)
    dr.traverse(dr.ADMode.Backward)
    np.testing.assert_allclose(dr.grad(x).numpy(), 2 * expected(2 * patch("float32")), rtol=1e-6)


def test_any_library_that_follows_the_array_api():
    """Such as CuPy: it is asked by `__array_namespace__`, or its module has `from_dlpack`; nothing is imported."""

    class Array:
        def __init__(self, tensor):
            self.tensor = tensor

        def __dlpack__(self, **kwargs):
            return self.tensor.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return self.tensor.__dlpack_device__()

        def __array_namespace__(self):
            return type("namespace", (), {"from_dlpack": lambda x: Array(torch.from_dlpack(x))})

    g = LOSS.gradient(Array(torch.from_numpy(patch())))
    assert isinstance(g, Array)
    assert_close(g.tensor, torch.from_numpy(expected(patch())))


@pytest.mark.gpu
def test_stays_on_the_gpu():
    x = torch.from_numpy(patch("float32")).cuda()
    loss = ScoreLoss(GaussianFieldPrior(size=8, channels=PRIOR.channels).cuda(), sigma=0.3)
    g = loss.gradient(x)
    assert g.is_cuda
    np.testing.assert_allclose(g.cpu().numpy(), expected(patch("float32")), rtol=1e-4, atol=1e-4)
