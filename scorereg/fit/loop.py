"""One step of a fit: photo rays and the rays that terms ask for are rendered, and the sum of the terms is minimised."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from scorereg._ema import make_average
from scorereg._io.saved import Damaged, check_adam, check_generator, check_number, check_tensors, fill_adam, has_nan
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
        if _advance(self.field, progress, self.recipe):
            self._start_optimizer()  # of new parameters
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

    def is_told(self, step: int) -> bool:
        """Whether a step is one of some fifty that the history tells."""
        return step % max(self.recipe.steps // 50, 1) == 0 or step == self.recipe.steps - 1

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

    def check_state(self, state: dict[str, Any], step: int) -> None:
        """Check that a state is one of this fit after so many steps; the fit is left as it is.

        Raises:
            Damaged: If not.
        """
        learned = copy.deepcopy(self.learned)  # as the field may have another size after so many steps
        field, proposal = learned[0], learned[1] if len(learned) > 1 else None
        _advance(field, self._progress(step), self.recipe)
        own = learned.state_dict()
        check_tensors(state["learned"], own, "learned")
        averages = {f"module.{name}": value for name, value in own.items()}
        check_tensors(state["average"], {"n_averaged": self.average.n_averaged, **averages}, "average")
        check_number(state["average"]["n_averaged"].item(), "average.n_averaged", 1, step + 1)
        check_adam(state["optimizer"], _adam(field, proposal, self.recipe), step)
        check_generator(state["generator"], self.generator)
        names, terms = [term.name for term in self.terms], state["terms"]
        if not isinstance(terms, dict) or set(terms) != set(names):
            raise Damaged(f"it does not have the states of the terms {', '.join(names)}")
        for name, value in terms.items():
            if not isinstance(value, dict) or has_nan(value):
                raise Damaged(f"the state of the term {name} is none")

    def load_state_dict(self, state: dict[str, Any], step: int) -> None:
        """Go back to what `state_dict` returned after so many steps.

        Raises:
            Damaged: If a term cannot load its state.
        """
        for term in self.terms:
            try:
                term.load_state_dict(state["terms"][term.name])
            except Exception as error:  # of anyone's class
                line = (str(error).splitlines() or [""])[0][:160]
                raise Damaged(
                    f"the term {term.name} does not take its state ({type(error).__name__}: {line})"
                ) from None
        if _advance(self.field, self._progress(step), self.recipe):
            self._start_optimizer()
        self.average.load_state_dict(state["average"])
        self.learned.load_state_dict(state["learned"])
        fill_adam(self.optimizer, state["optimizer"])
        self.generator.set_state(state["generator"])

    def _descend(self, loss: Tensor, step: int) -> None:
        if not loss.requires_grad:
            names = ", ".join(term.name for term in self.terms)
            raise ValueError(f"The loss of step {step} does not depend on the field, so it has no gradient: {names}.")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _start_optimizer(self) -> None:
        recipe, field = self.recipe, self.field
        self.optimizer = _adam(field, self.proposal, recipe)
        self.learned = nn.ModuleList([field, *([self.proposal] if isinstance(self.proposal, nn.Module) else [])])
        self.average = make_average(self.learned, 1 - 1 / max(recipe.average * recipe.steps, 1.0))

    def _progress(self, step: int) -> float:
        """The share of the steps at which the last of so many steps was taken."""
        return max(step - 1, 0) / self.recipe.steps

    def _lr_factor(self, step: int, progress: float) -> float:
        return min(1, (step + 1) / max(self.recipe.warmup, 1)) * self.recipe.lr_final**progress

    def _batch(self, step: int, progress: float) -> tuple[Batch, dict[str, slice]]:
        """The step's rays, rendered together, and which of them each term asked for."""
        triplets, (camera, pixel, color) = self._photo_rays(progress)
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
        return Batch(step, progress, self._render(rays[0], progress), camera, pixel, color, None, triplets), owners

    def _photo_rays(self, progress: float) -> tuple[int, tuple[Tensor, Tensor, Tensor]]:
        """The step's photo rays, of which the last are so many triplets."""
        asked = [term.triplets() for term in self.terms if term.active(progress)]
        share, reach = (max((x[i] for x in asked), default=0.0) for i in (0, 1))
        count = int(share * self.recipe.rays) // 3
        drawn = self.pixels.draw(self.recipe.rays - 3 * count, self.generator)
        if not count:
            return 0, drawn
        more = self.pixels.draw_triplets(count, reach, self.generator)
        camera, pixel, color = (torch.cat(pair) for pair in zip(drawn, more, strict=True))
        return count, (camera, pixel, color)

    def _render(self, rays: Rays, progress: float) -> Render:
        recipe = self.recipe
        return render(
            self.field, rays, proposal=self.proposal, near=self.scene.near, far=self.scene.far, samples=recipe.samples,
            proposal_samples=recipe.proposal_samples, anneal=min(1.0, 0.1 + progress / recipe.anneal),
            background=recipe.background, generator=self.generator,
        )  # fmt: skip


def _with_own(batch: Batch, own: slice | None) -> Batch:
    return batch if own is None else replace(batch, own=own)


def _advance(field: Any, progress: float, recipe: Recipe) -> bool:
    """Coarse to fine, in whatever way the field knows; returns whether its parameters are new ones."""
    if hasattr(field, "set_active_levels"):
        end = recipe.coarse_to_fine_end
        field.set_active_levels(min(progress / end, 1.0) if end > 0 else 1.0)
    return bool(hasattr(field, "refine_to") and field.refine_to(progress))


def _adam(field: Any, proposal: Any, recipe: Recipe) -> torch.optim.Adam:
    groups = list(field.param_groups(recipe.lr, recipe.lr_network))
    if isinstance(proposal, nn.Module):
        groups.append({"params": list(proposal.parameters()), "lr": recipe.lr})
    optimizer = torch.optim.Adam(groups, betas=_BETAS, eps=_EPS, fused=True)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer
