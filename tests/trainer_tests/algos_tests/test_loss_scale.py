import pytest
import torch
from headway.algos.divergence import DivergenceError
from headway.algos.gradient import Gradient
from headway.algos.loss_scale import LEAST, LossScale
from headway.parallel import Group
from torch import nn

CPU = torch.device("cpu")


def steps_of(precision, max_norm=0.0):
    """A module of one weight 2, moved by plain descent at rate 0.5."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    scale = LossScale(precision, CPU)
    return module, Gradient(module, lambda flat: torch.optim.SGD([flat], lr=0.5), Group(), max_norm, 1, scale)


def step(module, gradient, slope):
    gradient.begin()
    gradient.backward(module(torch.tensor([[float(slope)]])).sum())
    gradient.average(torch.tensor([7.0]))
    norm = gradient.apply()
    gradient.scale.update()
    return norm.item()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_step_is_that_of_the_loss_itself_whatever_it_was_multiplied_by(precision):
    module, gradient = steps_of(precision)
    step(module, gradient, 3.0)
    assert module.weight.item() == 2.0 - 0.5 * 3.0
    assert gradient.statistics.tolist() == [7.0]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_gradient_is_clipped_in_its_own_units(precision):
    module, gradient = steps_of(precision, max_norm=1.0)
    assert step(module, gradient, 3.0) == 3.0
    assert module.weight.item() == pytest.approx(1.5)


def test_a_step_that_overflows_is_left_out_counted_and_halves_the_factor():
    module, gradient = steps_of("fp16")
    step(module, gradient, float("inf"))
    assert (module.weight.item(), gradient.scale.value) == (2.0, 2.0**15)
    step(module, gradient, 3.0)
    assert (module.weight.item(), gradient.scale.value) == (0.5, 2.0**15)
    assert gradient.scale.metrics() == {"precision/overflows": 1.0, "precision/loss_scale": 2.0**15}
    assert gradient.scale.metrics()["precision/overflows"] == 0.0


def test_with_other_precisions_nothing_is_counted_kept_or_hidden():
    scale, broken = LossScale("bf16", CPU), torch.tensor([float("nan"), 1.0])
    assert (scale.metrics(), scale.get_state()) == ({}, {})
    assert scale.finite(broken) is broken
    scale.refuse_overflow()


def test_what_overflows_whatever_the_factor_has_diverged():
    module, gradient = steps_of("fp16")
    while gradient.scale.value >= LEAST:
        gradient.scale.refuse_overflow()
        step(module, gradient, float("nan"))
    with pytest.raises(DivergenceError, match="gradients still overflow"):
        gradient.scale.refuse_overflow()
    assert gradient.scale.finite(torch.tensor([float("inf"), float("nan"), 2.0]), 1.0).tolist() == [1.0, 1.0, 2.0]


def test_the_factor_goes_on_where_it_was():
    scales = LossScale("fp16", CPU), LossScale("fp16", CPU)
    module, gradient = steps_of("fp16")
    gradient.scale = scales[0]
    for slope in (float("inf"), 1.0, 1.0):
        step(module, gradient, slope)
    state = {name: tensor.clone() for name, tensor in scales[0].get_state().items()}
    assert {name: tensor.item() for name, tensor in state.items()} == {"scale": 2.0**15, "steps": 2}
    scales[1].set_state(state)
    assert scales[1].get_state() == state
