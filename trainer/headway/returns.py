"""Targets for learning, as pure tensor functions. T steps, N environments; time runs along the first axis."""

from __future__ import annotations

import torch
from torch import Tensor


def gae(
    reward: Tensor,  # float [T, N]
    value: Tensor,  # float [T, N]: V(s_t)
    next_value: Tensor,  # float [T, N]: V of the state that the step led to, before any reset
    terminated: Tensor,  # bool [T, N]: the task ended, nothing follows
    truncated: Tensor,  # bool [T, N]: the clock ended the episode, the task would have gone on
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, equations 11 to 16): (advantage, value target), [T, N].

    A truncated step bootstraps from V(final observation), which the caller has put into `next_value`; a terminated one
    never does. Merging the two would teach that time limits are deaths (Pardo et al. 2018).
    """
    goes_on = (~(terminated | truncated)).to(reward.dtype)
    # delta_t = r_t + gamma * V(s_{t+1}) - V(s_t), with V = 0 after termination
    delta = reward + gamma * next_value * (~terminated).to(reward.dtype) - value
    decay = gamma * lam * goes_on
    advantage = torch.empty_like(reward)
    following = torch.zeros_like(reward[0])
    for t in range(reward.shape[0] - 1, -1, -1):
        # A_t = delta_t + gamma * lambda * A_{t+1}, cut where the episode ends
        following = torch.addcmul(delta[t], decay[t], following, out=advantage[t])
    return advantage, advantage + value


def q_lambda(
    reward: Tensor,  # float [T, N]
    best: Tensor,  # float [T, N]: max_a Q of the state that the step led to, before any reset
    terminated: Tensor,  # bool [T, N]
    truncated: Tensor,  # bool [T, N]
    gamma: float,
    lam: float,
) -> Tensor:
    """Peng's Q(lambda) (Peng and Williams 1994; Gallici et al. 2025, section 4): returns [T, N].

    G_t = r_t + gamma * (lambda * G_{t+1} + (1 - lambda) * max Q(s_{t+1})); an episode's last step has no G_{t+1} and
    takes all of max Q, of its own last state, or nothing where it terminated.
    """
    goes_on = (~(terminated | truncated)).to(reward.dtype)
    following = reward + gamma * best * (~terminated).to(reward.dtype)  # with lambda 0
    decay = gamma * lam * goes_on
    found = torch.empty_like(reward)
    surplus = torch.zeros_like(reward[0])  # G_{t+1} - max Q(s_{t+1})
    for t in range(reward.shape[0] - 1, -1, -1):
        torch.addcmul(following[t], decay[t], surplus, out=found[t])
        if t > 0:
            surplus = found[t] - best[t - 1]
    return found
