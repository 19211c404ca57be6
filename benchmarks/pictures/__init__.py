"""Pictures of the documentation, drawn from the folders of fits and from the shipped priors."""
