"""One trainer: plan of steps, loss of a step, reference cache, resume."""
