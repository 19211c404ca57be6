"""Offsets beyond 2^31, and that the kernels build for a GPU, which no interpreter tells.

The large tensors are never written as a whole: memory that nobody touches is not there.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from scorereg.ops import composite, composite_reference, gather_patches

pytest.importorskip("triton")
FAR = 2**31 + 6


@pytest.fixture(autouse=True)
def _kernels(monkeypatch):
    monkeypatch.setenv("SCOREREG_OPS", "triton")


def mostly_untouched(*shape, device):
    return torch.empty(shape, dtype=torch.float16, device=device)


def test_images_with_rows_far_apart(device):
    """Five rows of 2^29 to the last row of the image."""
    memory = mostly_untouched(5 * 2**29 + 6, device=device)
    images = memory.as_strided((1, 1, 6, 6), (1, 1, 2**29, 1))
    small = torch.rand(1, 1, 6, 6, device=device).half()
    images.copy_(small)
    corner = torch.tensor([[0.2, 0.3]], device=device)
    for pitch in (1.0, 1.4):
        far, _ = gather_patches(images, corner, 4, pitch)
        near, _ = gather_patches(small, corner, 4, pitch)
        assert_close(far, near, rtol=0, atol=0)


def test_a_packed_ray_far_into_memory(device):
    given = [mostly_untouched(FAR, *more, device=device) for more in ((), (1,), (), (), ())]
    small = [x[-6:].copy_(torch.rand_like(x[-6:]) + 0.5 + k) for k, x in enumerate(given)]
    small[3].copy_(torch.arange(6) / 8)
    small[4].copy_(torch.arange(6) / 8 + 0.125)
    far = composite(*given, offsets=torch.tensor([FAR - 6, FAR], device=device))
    exact = composite_reference(*(x.double()[None] for x in small))
    assert_close(far.weights[-6:].double(), exact.weights[0], rtol=1e-3, atol=1e-4)
    for name in ("rgb", "depth", "inverse_depth", "opacity", "distortion"):
        assert_close(getattr(far, name).double(), getattr(exact, name), rtol=1e-5, atol=1e-5)


BUILD = """
import importlib
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TYPES = {"index_ptr": "*i64", "place_ptr": "*i64", "offset_ptr": "*i64", "count_ptr": "*i64", "missing_ptr": "*u8",
         "near": "fp32"}
GATHER = TYPES | {"end_ptr": "*fp64"}


def build(module, name, types=TYPES, **fixed):
    kernel = getattr(importlib.import_module(f"scorereg.ops._{module}.kernels"), name)
    names = kernel.arg_names
    signature = {n: types.get(n, "*fp32" if n.endswith("_ptr") else "i32") for n in names}
    signature |= dict.fromkeys(fixed, "constexpr")
    source = ASTSource(kernel, signature, {(names.index(n),): value for n, value in fixed.items()})
    assert "ptx" in triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm


for way in ("_forward", "_backward"):
    build("composite", way, C=3, CP=4, BLOCK=64)
    build("composite", way, C=3, CP=4, BLOCK=64, offset_ptr=None)
    build("scatter_patches", way, BLOCK=256)
    build("scatter_patches", way, A=1, B=1, C=1, D=1, H=1, W=1, space=1, channels=1, BLOCK=256)  # as Triton does
    build("frustum_count", "_penalty" + way, BLOCK=256)
    build("gather_patches", way, GATHER, CP=4, BLOCK=256)
    build("gather_patches", way, GATHER, size=1, C=1, H=1, W=1, sw=1, CP=1, BLOCK=256)
build("gather_patches", "_backward", GATHER, CP=4, BLOCK=256, total_ptr=None)
build("gather_patches", "_backward", GATHER, CP=4, BLOCK=256, dend_ptr=None)
HASH = TYPES | {name: "*i32" for name in ("side_ptr", "rows_ptr", "dense_ptr")} | {"start_ptr": "*i64"}
for d in (2, 3, 4):
    sizes = {"D": d, "F": 2, "FP": 2, "STAGGERED": d == 3, "SMOOTH": d == 3, "BLOCK": 128}
    build("hash_encode", "_one_level", HASH, ADJOINT=True, **sizes)
    build("hash_encode", "_one_level", HASH, ADJOINT=False, **sizes)
    build("hash_encode", "_to_points", HASH, **sizes)
build("frustum_count", "_count_kernel", BLOCK=256)
build("frustum_count", "_count_kernel", cameras=1, BLOCK=256)
"""


@pytest.mark.slow
def test_kernels_build_for_a_gpu(tmp_path):
    """Without one: in a process of its own, as the interpreter is chosen when Triton is imported."""
    script = tmp_path / "build.py"
    script.write_text(BUILD, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(Path.cwd())}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
