"""What every newsroom knows, as the start of A(s,a): a network that starts by chance gives its first readers lists by chance.

The first two units of every layer carry one sum over the dense inputs, w·x, as f(w·x) − f(−w·x), with beliefs as w; f is relu or
hardswish, of which that is w·x again. It is a start and no more: these units learn like all others.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from drn.config import Config
from drn.model import freeze
from drn.types import Floats, Weights

# Per typical spread of a dense input. Round numbers for what news logs agree on, small enough for clicks to overrule: what others
# click, how old it is, what this reader clicked in the last week. All lie within a few spreads, whatever a site is like; "hardly
# anybody reads an article twice" is not among them, as a count without bound would let it rule where readers do come back.
BELIEFS: Mapping[str, float] = {
    "rate_1w_z": 0.5,
    "age_z": -0.25,
    "interest_category_1w_z": 0.25,
    "interest_topics_1w_z": 0.1,
}
PATH = slice(2)  # the two units of every layer
PAIR = np.array([1, -1], np.float32)  # how the two units add up to w·x


def informed(weights: Weights, names: Sequence[str], config: Config) -> Weights:
    """`weights` that score by the beliefs, and by chance beside them; unchanged where the layers leave no room for it.

    Among the paper's features alone those that beliefs speak of are blank: units that see nothing would never learn.

    Args:
        names: of the dense inputs, in order.  (D,)
    """
    if (
        config.start != "informed"
        or config.features == "paper"
        or config.activation == "sigmoid"
        or min(config.advantage_layers) < 3
        or not names
    ):
        return weights
    believed = np.array([BELIEFS.get(name, 0.0) for name in names], np.float32)  # (D,)
    return freeze(
        {name: carrying(name, tensor, believed) if name.startswith("advantage.") else tensor for name, tensor in weights.items()}
    )


def carrying(name: str, tensor: Floats, believed: Floats) -> Floats:
    """A tensor of A whose first two units take in w·x, w = `believed`, and hand it on to the next layer's alone."""
    made = np.array(tensor)
    if name == "advantage.dense":
        made[:, PATH] = believed[:, None] * PAIR
    elif name == "advantage.out.weight":
        made[PATH] = PAIR
    elif name.endswith(".weight"):
        made[:, PATH], made[PATH] = 0, 0
        made[PATH, PATH] = np.outer(PAIR, PAIR)  # one unit of this layer takes in w·x again, the other −w·x
    elif name != "advantage.out.bias":  # what the units see of reader, content and list, and biases
        made[..., PATH] = 0
    return made
