"""Self-play: past policies drive the other robots. `league` decides, `partners` act, `running` joins them."""

from headway.selfplay.running import RunningSelfPlay

__all__ = ["RunningSelfPlay"]
