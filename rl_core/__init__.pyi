from .checkpoint import save_agent as save_agent
from .config import SACConfig as SACConfig
from .env import ActionRepeat as ActionRepeat
from .env import BatchedEnv as BatchedEnv
from .env import Step as Step
from .errors import ConfigError as ConfigError
from .errors import SymmetryError as SymmetryError
from .evaluation import Evaluator as Evaluator
from .evaluation import evaluate as evaluate
from .experience.replay import Batch as Batch
from .experience.replay import Replay as Replay
from .random import Noise as Noise
from .sac import SAC as SAC
from .sac import load_agent as load_agent
from .symmetry import Group as Group
from .symmetry import Representation as Representation
from .symmetry import Symmetry as Symmetry
from .training import Progress as Progress
from .training import TrainResult as TrainResult
from .training import train as train

__all__ = [
    "SAC",
    "ActionRepeat",
    "Batch",
    "BatchedEnv",
    "ConfigError",
    "Evaluator",
    "Group",
    "Noise",
    "Progress",
    "Replay",
    "Representation",
    "SACConfig",
    "Step",
    "Symmetry",
    "SymmetryError",
    "TrainResult",
    "evaluate",
    "load_agent",
    "save_agent",
    "train",
]
