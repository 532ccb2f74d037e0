"""Where the numbers of a layer's row in the table lie.

A matrix takes seven: the addresses of its weights and scales, the rows that it holds, the address
of its bias or 0, that of its product, whether it takes whole numbers, and its outputs to a tile.
"""

WEIGHTS, SCALES, HELD, BIAS, PRODUCT, WHOLE, TILE = range(7)
Q, K, V, OUT, GATE, UP, DOWN = range(0, 49, 7)
(
    INPUT_NORM,
    POST_ATTENTION,
    MLP_NORM,
    POST_MLP,
    Q_NORM,
    K_NORM,
    KEYS,
    VALUES,
    TURNS,
    WINDOW,
) = range(49, 59)
"""Addresses, 0 for what there is none of; the window in positions, 0 for none."""
COLUMNS = 59

HEAD, LAST_NORM = 0, 7
"""Of what follows the layers."""
END_COLUMNS = 8

PHASES, END_PHASES = 12, 2
"""Phases of a layer, at most, and of what follows the layers."""
