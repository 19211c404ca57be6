"""One step of a fit: photo rays and the rays that terms ask for are rendered, and the sum of the terms is minimised."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from scorereg._ema import make_average
from scorereg.cameras import Rays
from scorereg.fit.pixels import PhotoPixels, training_depth, training_masks
from scorereg.fit.recipe import Recipe
from scorereg.fit.term import Batch, FitContext, Term
from scorereg.rendering.volume import DensityFn, Render, proposal_loss, render
from scorereg.scenes import Scene

__all__ = ["FitState"]

_BETAS, _EPS = (0.9, 0.99), 1e-15  # of Adam, as Instant NGP has them: gradients of a hash table are tiny and sparse


class FitState:
    """A field that is being fitted: its optimizer, its terms, its random numbers, and one step of it.

    Args:
        scene: Photos and cameras, on the device of the fit.
        field: What is fitted, a `Field` with `param_groups`; changed in place.
        proposal: Density that tells where to sample; a module is trained along.
        terms: The loss, bound to this fit.
        recipe: Numbers of the loop.
        seed: Seeds everything that is drawn.
    """

    def __init__(
        self,
        scene: Scene,
        field: Any,
        proposal: DensityFn,
        terms: Sequence[Term],
        recipe: Recipe,
        seed: int,
    ) -> None:
        self.scene, self.field, self.proposal, self.recipe = scene, field, proposal, recipe
        self.device = scene.images.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.cameras, masks = scene.cameras[scene.train], training_masks(scene)
        photos = scene.images[list(scene.train)]
        if masks is not None:
            photos = torch.where(masks[..., None], photos, 0.0)  # nothing under a mask reaches any term
        self.pixels = PhotoPixels(photos, masks)
        self.terms = list(terms)
        self._start_optimizer()
        depth = training_depth(scene)
        context = FitContext(scene, self.cameras, photos, field, recipe, self.generator, masks, depth)
        for term in self.terms:
            term.bind(context)

    def step(self, step: int) -> dict[str, Tensor]:
        """Take one optimization step; return the values of the terms, without their factors."""
        progress = step / self.recipe.steps
        self._advance(progress)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._lr_factor(step, progress)
        batch, owners = self._batch(step, progress)
        values: dict[str, Tensor] = {}
        losses = [proposal_loss(batch.render)] if isinstance(self.proposal, nn.Module) else []
        for term in self.terms:
            if term.active(progress):
                values[term.name] = term(_with_own(batch, owners.get(term.name)))
                losses.append(term.factor(progress) * values[term.name])
                values |= term.report()
        if losses:  # else no term is at work in this step
            self._descend(torch.stack(losses).sum(), step)
        self.average.update_parameters(self.learned)
        return {name: value.detach() for name, value in values.items()}

    def averaged(self) -> tuple[nn.Module, DensityFn]:
        """The field and the proposal with the averaged parameters."""
        field, *proposal = self.average.module  # pyright: ignore[reportGeneralTypeIssues]
        return field, proposal[0] if proposal else self.proposal

    def state_dict(self) -> dict[str, Any]:
        """All that a step changes."""
        return {
            "average": self.average.state_dict(),
            "learned": self.learned.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "terms": {term.name: term.state_dict() for term in self.terms},
        }

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Go back to what `state_dict` returned after so many steps."""
        self._advance(max(step - 1, 0) / self.recipe.steps)
        self.average.load_state_dict(state["average"])
        self.learned.load_state_dict(state["learned"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        for term in self.terms:
            term.load_state_dict(state["terms"][term.name])

    def _descend(self, loss: Tensor, step: int) -> None:
        if not loss.requires_grad:
            names = ", ".join(term.name for term in self.terms)
            raise ValueError(f"The loss of step {step} does not depend on the field, so it has no gradient: {names}.")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _start_optimizer(self) -> None:
        recipe, field = self.recipe, self.field
        groups = list(field.param_groups(recipe.lr, recipe.lr_network))  # pyright: ignore[reportCallIssue]
        if isinstance(self.proposal, nn.Module):
            groups.append({"params": list(self.proposal.parameters()), "lr": recipe.lr})
        self.optimizer = torch.optim.Adam(groups, betas=_BETAS, eps=_EPS, fused=True)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.learned = nn.ModuleList([field, *([self.proposal] if isinstance(self.proposal, nn.Module) else [])])
        self.average = make_average(self.learned, 1 - 1 / max(recipe.average * recipe.steps, 1.0))

    def _advance(self, progress: float) -> None:
        """Coarse to fine, in whatever way the field knows; new parameters get a new optimizer and a new average."""
        if hasattr(self.field, "set_active_levels"):
            end = self.recipe.coarse_to_fine_end
            self.field.set_active_levels(min(progress / end, 1.0) if end > 0 else 1.0)
        if hasattr(self.field, "refine_to") and self.field.refine_to(progress):
            self._start_optimizer()

    def _lr_factor(self, step: int, progress: float) -> float:
        return min(1, (step + 1) / max(self.recipe.warmup, 1)) * self.recipe.lr_final**progress

    def _batch(self, step: int, progress: float) -> tuple[Batch, dict[str, slice]]:
        """The step's rays, rendered together, and which of them each term asked for."""
        camera, pixel, color = self.pixels.draw(self.recipe.rays, self.generator)
        rays = [self.cameras.rays(camera, pixel)]
        owners, count = {}, len(camera)
        for term in self.terms:
            own = term.rays(step) if term.active(progress) else None
            if own is not None:
                owners[term.name] = slice(count, count + len(own))
                count += len(own)
                rays.append(own)
        if len(rays) > 1:
            rays = [Rays(torch.cat([r.origins for r in rays]), torch.cat([r.directions for r in rays]))]
        return Batch(step, progress, self._render(rays[0], progress), camera, pixel, color), owners

    def _render(self, rays: Rays, progress: float) -> Render:
        recipe = self.recipe
        return render(
            self.field, rays, proposal=self.proposal, near=self.scene.near, far=self.scene.far, samples=recipe.samples,
            proposal_samples=recipe.proposal_samples, anneal=min(1.0, 0.1 + progress / recipe.anneal),
            background=recipe.background, generator=self.generator,
        )  # fmt: skip


def _with_own(batch: Batch, own: slice | None) -> Batch:
    return batch if own is None else replace(batch, own=own)
