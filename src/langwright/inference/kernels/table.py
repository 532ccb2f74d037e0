"""Where the numbers of a layer's row in the table lie.

A matrix takes eight: the addresses of its weights and scales, the rows that it holds, the address
of its bias or 0, those of its products with few rows and with many, whether they take whole
numbers, and its outputs to a tile.
"""

WEIGHTS, SCALES, HELD, BIAS, PRODUCT, WIDE, WHOLE, TILE = range(8)
Q, K, V, OUT, GATE, UP, DOWN = range(0, 56, 8)
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
) = range(56, 66)
"""Addresses, 0 for what there is none of; the window in positions, 0 for none."""
COLUMNS = 66

HEAD, LAST_NORM = 0, 8
"""Of what follows the layers."""
END_COLUMNS = 9

PHASES, END_PHASES = 13, 2
"""Phases of a layer, at most, and of what follows the layers."""
