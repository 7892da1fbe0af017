"""Past policies that act: networks of one kind whose tensors are rows of stacked ones, and the present policy."""

from __future__ import annotations

import copy

import torch
from headway_api.train_spec import TrainSpec
from torch import Tensor

from headway.algos.protocol import Policy
from headway.envs.protocol import VectorEnv
from headway.networks import GreedyPolicy, build_network, load_weights
from headway.networks.build import PolicyModule


class Partners:
    """P places, each with the weights of one past policy. Row P is the present policy, whose weights are elsewhere."""

    def __init__(self, network: PolicyModule, places: int, present: Policy) -> None:
        """`network`: of the kind that all of them are, on the device on which they act; its weights do not matter."""
        network = network.requires_grad_(False)
        tensors = network.state_dict()
        self.stack = {name: torch.stack([tensor] * places) for name, tensor in tensors.items()}  # [P, ...] each
        self._networks = [copy.deepcopy(network) for _ in range(places)]
        for place, one in enumerate(self._networks):
            one.load_state_dict({name: stacked[place] for name, stacked in self.stack.items()}, assign=True)
        self._policies: list[Policy] = [*map(GreedyPolicy, self._networks), present]

    def put(self, place: int, weights: dict[str, Tensor]) -> None:
        """Copy a policy's weights, named as the network's state, into a place. Raises ValueError if they do not fit."""
        load_weights(self._networks[place], weights)

    def act(self, features: Tensor, begins: Tensor, row: Tensor) -> Tensor:
        """Return actions for features [M, F], each of the policy at `row` int64 [M], from 0 to P.

        One pass through each network that has rows at all, however many environments they belong to.
        """
        order = row.argsort(stable=True)
        sizes = row.bincount(minlength=len(self._policies)).tolist()
        groups = zip(self._policies, features[order].split(sizes), begins[order].split(sizes), strict=True)
        actions = torch.cat([policy(rows, fresh) for policy, rows, fresh in groups if len(rows)])
        return torch.empty_like(actions).index_copy_(0, order, actions)


def build_partner(spec: TrainSpec, env: VectorEnv, device: torch.device) -> PolicyModule:
    """Build a network as the run's own is, for its weights to be replaced."""
    return build_network(spec.network, spec.algo, env.layout, env.actions, spec.seed).to(device)
