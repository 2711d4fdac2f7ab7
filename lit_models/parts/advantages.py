"""How much better an action was than what its state promised."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def gae(rewards: Floats, values: Floats, terminated: Flags, ended: Flags, discount: float, smoothing: float) -> Floats:
    """Return generalised advantage estimates (T, E) (Schulman et al., 2016, equation 16).

    With the surprise d_t = r_t + discount V(s_t+1) - V(s_t), an action's advantage is the sum over what follows
    it in its episode of (discount * smoothing)^l d_t+l. A terminal state is worth nothing; where an episode was cut
    off, by its time limit or by the end of the rollout, the value of the state it reached stands for the rest.

    Args:
        rewards: of T steps in E environments (T, E).
        values: of the states before each step, and of the last ones reached (T + 1, E).
        terminated: whether the step led to a terminal state (T, E).
        ended: whether it was the last of its episode, terminal or cut off (T, E).
        discount: of a reward one step later, in [0, 1].
        smoothing: the paper's lambda, in [0, 1]: 0 trusts the values, 1 the rewards.
    """
    surprises = rewards + discount * values[1:] * ~terminated - values[:-1]
    kept = discount * smoothing * ~ended
    advantages = np.zeros_like(surprises)
    following = np.zeros_like(surprises[0])
    for step in reversed(range(len(surprises))):
        following = surprises[step] + kept[step] * following
        advantages[step] = following
    return advantages
