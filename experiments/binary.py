"""What the experiments' command lines share: import it before TensorFlow.

TensorFlow's start, which takes seconds, is in this import, and without its
notes about missing GPUs. `experiments.command_line` leaves it for later.
"""

from experiments.command_line import errors_in_one_line as errors_in_one_line
from experiments.command_line import run as run
from mlora_tf import preflight as preflight
