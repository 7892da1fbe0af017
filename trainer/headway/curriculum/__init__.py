"""From easy to hard: which stage is trained, what opens the next one, and which of its levels are played again."""

from headway.curriculum.gates import Counts
from headway.curriculum.running import CurriculumRecord, RunningCurriculum
from headway.curriculum.schedule import CurriculumState
from headway.curriculum.windows import fresh

__all__ = ["Counts", "CurriculumRecord", "CurriculumState", "RunningCurriculum", "fresh"]
