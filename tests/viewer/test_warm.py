"""A page whose fields are not compiled yet."""

import math
import threading

import torch
from torch import nn

from scorereg.rendering import Ensemble
from scorereg.viewer.warm import compile_beside


class Field(nn.Module):
    """Compiles when it is told to."""

    def __init__(self, fails=False):
        super().__init__()
        self.register_buffer("center", torch.zeros(3))
        self.fails, self.go, self.calls = fails, threading.Event(), []

    def delay_compiling(self, points):
        self.points = points

    def forward(self, points, directions):
        self.go.wait(10)
        self.calls.append((torch.is_grad_enabled(), torch.get_num_threads()))
        if self.fails:
            raise RuntimeError("no compiler")


def test_a_field_is_rendered_without_compiling_until_a_thread_has_done_so():
    field = Field()
    thread = compile_beside([nn.ModuleList([field]), nn.Linear(1, 1)], (1, 2))
    assert field.points == math.inf
    field.go.set()
    thread.join(10)
    assert field.points == 0
    assert field.calls == [(True, 1), (True, 2)]


def test_the_members_of_an_ensemble_are_compiled():
    fields = [Field(), Field()]
    thread = compile_beside([Ensemble(fields)])
    for field in fields:
        field.go.set()
    thread.join(10)
    assert [field.points for field in fields] == [0, 0]


def test_there_is_no_thread_where_there_is_nothing_to_compile():
    assert compile_beside([nn.Linear(1, 1), Field().to("meta")]) is None


def test_it_stays_without_where_compiling_fails():
    field = Field(fails=True)
    field.go.set()
    compile_beside([field]).join(10)
    assert field.points == math.inf
    assert len(field.calls) == 1
