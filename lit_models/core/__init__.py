"""What every family stands on: the base of all modules, data loading, optimizers, random numbers."""
