"""Small networks for tests."""

from headway.envs.protocol import ActionSpace, FeatureLayout
from headway.networks import build_network
from headway_api.algo_spec import Algo, Network

LAYOUT = FeatureLayout(plain=4, channels=2, beams=8, circular=True)  # F = 20


def network(kind="mlp", layout=LAYOUT, actions=None, seed=0, ppo=None, **fields):
    spec = Network.model_validate({kind: fields or {"hidden": [6, 5]}})
    return build_network(spec, Algo.model_validate({"ppo": ppo or {}}), layout, actions or ActionSpace(2), seed)
