"""Operations on tensors of another device that holds no values, as a stand-in for a GPU.

An operation that mixes devices, or asks for a value (`.item()`, `bool(tensor)`, a mask as an index) and so would make
the GPU wait for Python, is an error on them. Not here: packed rays, patches and blocks, whose plain torch looks where
they lie; on a GPU their kernels run.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree

from scorereg import ops
from scorereg.cameras import Cameras
from scorereg.ops._gather_patches.eager import footprints


def rand(*shape, grad=True):
    return torch.rand(shape, device="meta").requires_grad_(grad)


def cameras(count=3):
    pose = torch.eye(3, 4, device="meta").expand(count, 3, 4)
    return Cameras(pose, rand(count, 2, grad=False), rand(count, 2, grad=False), 8, 6)


def samples():
    return (rand(5, 7), rand(5, 7, 3), *(rand(5, 7) for _ in range(3)))


GRID = ops.GridShape(levels=3, log2_slots=6, base=4, finest=16)
CALLS = {
    "footprints": lambda: footprints(rand(4, 2), rand(4, 2), 4, 9, 8),
    "composite": lambda: ops.composite(*samples()),
    "composite, definition": lambda: ops.composite_reference(*samples()),
    "weights": lambda: ops.render_weights(rand(5, 7)),
    "distortion": lambda: ops.distortion(rand(5, 7), rand(5, 8)),
    "distortion, definition": lambda: ops.distortion_reference(rand(5, 7), rand(5, 8)),
    "frustum_count": lambda: ops.frustum_count(rand(4, 5, 3), cameras()),
    "frustum_count, definition": lambda: ops.frustum_count_reference(rand(4, 5, 3), cameras(), margin=1.0),
    "frustum_penalty": lambda: ops.frustum_penalty(rand(4, 5), rand(4, 5, 3), cameras()),
    "frustum_penalty, definition": lambda: ops.frustum_penalty_reference(rand(4, 5), rand(4, 5, 3), cameras()),
    "hash_encode": lambda: ops.hash_encode(rand(6, 3), rand(sum(GRID.rows), 2), GRID, backend="eager"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.setenv("SCOREREG_OPS", "reference")  # kernels need the GPU itself


def run(call):
    out = [x for x in pytree.tree_leaves(_fields(call())) if isinstance(x, torch.Tensor)]
    assert {x.device.type for x in out} == {"meta"}
    if any(x.requires_grad for x in out):
        sum(x.sum() for x in out if x.requires_grad).backward()


def _fields(value):
    return (
        [getattr(value, name) for name in value.__dataclass_fields__]
        if hasattr(value, "__dataclass_fields__")
        else value
    )


@pytest.mark.parametrize("name", CALLS)
def test_one_device_and_no_waiting(name):
    with FakeTensorMode():
        run(CALLS[name])


def test_what_the_tests_look_for_is_found():
    with FakeTensorMode():
        x = rand(4)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.rand(4)
        for wait in (lambda: x.sum().item(), lambda: bool((x > 0).all()), lambda: x[x > 0]):
            with pytest.raises(Exception, match=r"_local_scalar_dense|nonzero|cuda"):
                wait()
