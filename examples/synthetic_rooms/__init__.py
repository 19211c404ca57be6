"""Rooms with free furniture, rendered by Mitsuba 3 as RGB-D frames: where the data of the shipped priors come from."""
