"""What each extra of the distribution installs, and the line that installs what is missing."""

from __future__ import annotations

import importlib.util

from headway.errors import UserError

# Extra -> the modules whose absence shows that it is not installed.
EXTRAS: dict[str, tuple[str, ...]] = {
    "trainer": ("torch", "numpy", "numba", "safetensors", "gymnasium", "PIL", "rich", "tensorboard", "pynvml"),
    "gym": ("Box2D", "gymnasium_robotics", "mujoco", "highway_env", "minigrid", "irsim"),
    "cuda": ("numba_cuda",),
    "hpo": ("optuna", "cmaes", "scipy", "sqlalchemy", "psycopg", "aiohttp", "grpc", "optuna_dashboard", "matplotlib"),
    "raytune": ("ray", "sklearn", "bayes_opt"),
    "operator": ("kopf", "kubernetes", "aiohttp", "prometheus_client", "cryptography"),
}


def missing(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed."""
    return [module for module in EXTRAS[extra] if importlib.util.find_spec(module) is None]


def install_line(extra: str) -> str:
    """Return the line that installs an extra."""
    return f"pip install 'headway[{extra}]'"


def require(extra: str) -> None:
    """Raise UserError with the line that installs it, if a part of the extra is missing."""
    if absent := missing(extra):
        raise UserError(f"{', '.join(absent)}: not installed: {install_line(extra)}")
