"""A process that steps several environments of somebody else's: `python -m headway.envs.foreign.worker FD`.

It obeys JSON messages on the socket FD and leaves when that closes. Rows of numbers go through shared memory. Neither
torch nor the trainer is imported here: a worker is as small as its environments are.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from headway.envs.foreign.draws import draw_episode
from headway.envs.foreign.memory import SUCCESS_UNKNOWN, Block, share
from headway.envs.foreign.packages import ID_FIELD, make, stage_field
from headway.envs.foreign.spaces import Codec
from headway.errors import SpecError

SUCCESS_KEYS, COLLISION_KEYS = ("is_success", "success"), ("is_collision", "crashed", "collision")


class Worker:
    """Environments `first` to `first + count - 1` of a block."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.first, self.count = int(order["first"]), int(order["count"])
        stages = order["stages"]  # name and arguments of each
        self._kwargs = [order["kwargs"] | stage["kwargs"] for stage in stages]
        # Stages with equal arguments share an environment.
        self._variant = [self._kwargs.index(kwargs) for kwargs in self._kwargs]
        # (row, variant) -> environment, made when first needed and kept: replays of earlier stages come back to it.
        self._made: dict[tuple[int, int], gymnasium.Env[Any, Any]] = {}
        self.codec = Codec(self._env(0, 0), order["id"])
        for stage in range(len(stages) if order["check"] else 0):
            if Codec(self._env(0, stage), order["id"]).sizes != self.codec.sizes:
                raise SpecError(
                    self._field(stage), stages[stage]["kwargs"], "stages must not change observation or action sizes"
                )

    def attach(self, path: Path) -> None:
        """Map the shared memory."""
        self.block: Block = share(path, int(self.order["total"]), self.codec.sizes)

    def close(self) -> None:
        """End the environments."""
        for env in self._made.values():
            env.close()
        self._made.clear()

    def begin(self, stage: int) -> None:
        """Begin in every environment the episode whose number the block holds."""
        for row in range(self.count):
            self._begin(row, stage)

    def step(self, stage: int) -> None:
        """Step every environment; where an episode ends, the next one begins at once."""
        block = self.block
        for row in range(self.count):
            i = self.first + row
            env = self._env(row, int(block.stage[i]))
            seen, reward, terminated, truncated, info = env.step(self.codec.action(block.action[i]))
            block.reward[i], block.terminated[i], block.truncated[i] = reward, terminated, truncated
            block.success[i] = next((bool(info[k]) for k in SUCCESS_KEYS if k in info), SUCCESS_UNKNOWN)
            block.collision[i] = any(bool(info[k]) for k in COLLISION_KEYS if k in info)
            rows = self._rows(i, seen)
            if not math.isfinite(reward):
                raise self._not_finite(i, "reward", reward)
            if terminated or truncated:
                block.final_observation[i], block.final_achieved[i], block.final_desired[i] = rows
                block.episode[i] += 1
                self._begin(row, stage)
            else:
                block.observation[i], block.achieved[i], block.desired[i] = rows

    def _begin(self, row: int, stage: int) -> None:
        i, order, block = self.first + row, self.order, self.block
        index, episode = int(order["offset"]) + i, int(block.episode[i])
        if order["stride"]:  # every level id once: ids i, i + stride, i + 2 stride ...
            index, episode = index + episode * int(order["stride"]), 0
        drawn = draw_episode(order["seed"], order["split"], index, episode, stage, order["replay"])
        block.stage[i] = drawn.stage
        seen, _ = self._env(row, drawn.stage).reset(seed=drawn.seed)
        block.observation[i], block.achieved[i], block.desired[i] = self._rows(i, seen)

    def _rows(self, i: int, seen: Any) -> list[NDArray[np.float32]]:
        rows = self.codec.rows(seen)
        for row in rows:
            if not np.isfinite(row).all():
                raise self._not_finite(i, "observation", row[~np.isfinite(row)][0])
        return rows

    def _not_finite(self, i: int, what: str, value: Any) -> SpecError:
        """Return the error of who gives no number; else the learner would blame its learning rate for it."""
        where = f"environment {self.order['offset'] + i}, episode {self.block.episode[i]}"
        fix = f"{where}: its {what} holds {value}: mend it"
        return SpecError(ID_FIELD, self.order["id"], fix)

    def _env(self, row: int, stage: int) -> gymnasium.Env[Any, Any]:
        key = row, self._variant[stage]
        if key not in self._made:
            self._made[key] = make(
                self.order["id"], self._kwargs[stage], self.order["max_steps"], field=self._field(stage)
            )
        return self._made[key]

    def _field(self, stage: int) -> str:
        own = self.order["stages"][stage]
        return stage_field(own["name"], own["kwargs"])


def serve(pipe: Connection) -> None:
    """Obey until the other end closes."""
    worker = Worker(json.loads(pipe.recv_bytes()))
    pipe.send_bytes(json.dumps(worker.codec.sizes).encode())
    worker.attach(Path(pipe.recv_bytes().decode()))
    pipe.send_bytes(b"{}")
    tasks = {"begin": worker.begin, "step": worker.step}
    while True:
        order = json.loads(pipe.recv_bytes())
        tasks[order["task"]](order["stage"])
        pipe.send_bytes(b"{}")


def main(fd: int) -> None:
    """Serve; send back what goes wrong."""
    # A terminal's Ctrl-C and a pod's SIGTERM are for the trainer, which still needs its environments to save and leave.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    pipe = Connection(fd)
    try:
        serve(pipe)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except SpecError as error:
        pipe.send_bytes(json.dumps({"field": error.field, "value": error.value, "fix": error.fix}).encode())
    except Exception as error:
        summary = f"{type(error).__name__}: {error}"
        pipe.send_bytes(json.dumps({"error": summary, "trace": traceback.format_exc()}).encode())


def _leave_with(parent: int) -> None:
    """End this process once the rank is gone: an environment that hangs does not see that the socket has closed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
