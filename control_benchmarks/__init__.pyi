from .envs.process_pool import ControlEnv as ControlEnv
from .envs.symmetry import image_symmetry as image_symmetry
from .envs.symmetry import state_symmetry as state_symmetry
from .envs.variants import Variant as Variant
from .envs.variants import load_variant as load_variant
from .envs.variants import variant_names as variant_names
from .errors import ControlError as ControlError
from .tasks.registry import load_task as load_task
from .tasks.registry import task_names as task_names

__all__ = [
    "ControlEnv",
    "ControlError",
    "Variant",
    "image_symmetry",
    "load_task",
    "load_variant",
    "state_symmetry",
    "task_names",
    "variant_names",
]
