import torch
from headway.algos.targets import Following, frozen
from headway.envs.protocol import ActionSpace
from headway.networks.build import build_network
from headway.parallel import FlatParameters
from headway_api.algo_spec import Algo, Network
from hypothesis import given
from hypothesis import strategies as st
from trainer_tests.algos_tests.making import Table
from trainer_tests.networks_tests.making import LAYOUT


def made(rows=((2.0, 4.0), (6.0, 8.0))):
    module = Table(list(rows))
    flat = FlatParameters(module)
    return module, flat, Following(module, flat)


def test_a_follower_stays_where_it_is_until_it_is_told():
    module, _, follower = made()
    module.write([[0.0, 0.0], [0.0, 0.0]])
    assert follower.module.read().tolist() == [[2, 4], [6, 8]]
    follower.copy()
    assert follower.module.read().tolist() == [[0, 0], [0, 0]]


def test_a_follower_goes_its_share_of_the_way():
    module, _, follower = made()
    module.write([[10.0, 0.0], [6.0, -8.0]])
    follower.follow(0.25)
    assert follower.module.read().tolist() == [[4, 3], [6, 4]]
    assert module.read().tolist() == [[10, 0], [6, -8]]  # which is not followed back
    follower.follow(1.0)
    assert torch.equal(follower.module.read(), module.read())


@given(st.floats(0.01, 1), st.integers(1, 20))
def test_what_is_left_of_the_way_is_a_power(share, times):
    module, _, follower = made([[1.0]])
    module.write([[0.0]])
    for _ in range(times):
        follower.follow(share)
    torch.testing.assert_close(follower.value[:1], torch.tensor([(1 - share) ** times]), atol=1e-5, rtol=1e-4)


def test_the_same_module_without_gradients_sees_every_step_and_gets_none():
    module, flat, _ = made()
    judge = frozen(module, flat)
    module.write([[1.0, 0.0], [0.0, 1.0]])
    assert torch.equal(judge.read(), module.read())
    inputs = torch.ones(1, 2, requires_grad=True)
    judge(inputs, None)[0].sum().backward()
    assert inputs.grad.tolist() == [[1, 1]] and not flat.gradient.any()


def test_every_parameter_of_a_network_is_followed():
    algo = Algo.model_validate({"dqn": {}})
    spec = Network.model_validate({"mlp": {"hidden": [5, 3], "layerNorm": True}})
    module = build_network(spec, algo, LAYOUT, ActionSpace(4, discrete=True), 0)
    follower = Following(module, FlatParameters(module))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    features = torch.randn(6, LAYOUT.size)
    assert not torch.allclose(follower.module(features), module(features))
    follower.copy()
    assert torch.equal(follower.module(features), module(features))
    assert not any(parameter.requires_grad for parameter in follower.module.parameters())
