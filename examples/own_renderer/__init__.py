"""ScoreLoss on renderers that are not torch: NumPy with SciPy, JAX, Mitsuba 3."""
