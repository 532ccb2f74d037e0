"""Where the numbers of a layer's row in the table lie. A matrix takes four: the addresses of its
weights and scales, the rows that it holds, and the address of its bias, or 0."""

Q, K, V, OUT, GATE, UP, DOWN = range(0, 28, 4)
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
) = range(28, 38)
"""Addresses, 0 for what there is none of; the window in positions, 0 for none."""
COLUMNS = 38

HEAD, LAST_NORM = 0, 4
"""Of what follows the layers."""
END_COLUMNS = 5
