"""Losses again, one number at a time, with the formulas of the papers and without torch.

Arguments: z logits, y targets or truth, p probabilities, each a list of rows; tables are lists of lists.
"""

import math

BINS = 7


def softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def said(z, is_softmax):
    return [softmax(row) if is_softmax else [sigmoid(value) for value in row] for row in z]


def one_hot(labels, count):
    return [[float(k == label) for k in range(count)] for label in labels]


def smoothed(y, smoothing, to):
    return [[(1 - smoothing) * value + smoothing * to for value in row] for row in y]


def softmax_terms(z, y):
    return [[-t * math.log(p) for p, t in zip(softmax(row), truth, strict=True)]
            for row, truth in zip(z, y, strict=True)]


def sigmoid_terms(z, y):
    return [[-t * math.log(sigmoid(v)) - (1 - t) * math.log(1 - sigmoid(v)) for v, t in zip(row, truth, strict=True)]
            for row, truth in zip(z, y, strict=True)]


def costly_terms(z, y, costs):
    """A softmax margin: each rival's exponential is multiplied with what it costs beside the true class."""
    return [[t * costs[k][k] * (math.log(sum(costs[k][j] / costs[k][k] * math.exp(v) for j, v in enumerate(row)))
                                - row[k]) for k, t in enumerate(truth)] for row, truth in zip(z, y, strict=True)]


def looked_up(y, table):
    """Of tasks with one label: the mean of rows by the truth."""
    return [[sum(t * table[k][c] for k, t in enumerate(truth)) for c in range(len(table))] for truth in y]


def looked_up_of_labels(y, table):
    """Of tasks with several hard labels."""
    found = []
    for truth in y:
        true = [k for k, t in enumerate(truth) if t]
        row = []
        for c in range(len(table)):
            rows = [k for k in (true or range(len(table))) if k != c]
            row.append(table[c][c] if c in true else sum(table[k][c] for k in rows) / len(rows))
        found.append(row)
    return found


def between(p, low, up):
    return [[float(a < value < b) for value, a, b in zip(*rows, strict=True)] for rows in zip(p, low, up, strict=True)]


def focal(p, y, gamma, is_softmax):
    return [[(1 - v if is_softmax else v * (1 - t) + (1 - v) * t) ** gamma for v, t in zip(row, truth, strict=True)]
            for row, truth in zip(p, y, strict=True)]


def balanced(y, counts, beta):
    """Effective numbers as sums of the geometric series that they stand for."""
    inverse = [1 / sum(beta**i for i in range(max(n, 1))) for n in counts]
    weights = [value * len(counts) / sum(inverse) for value in inverse]
    return [[sum(t * weights[k] for k, t in enumerate(truth))] * len(counts) for truth in y]


def lengths(p, y, is_softmax):
    far = [[abs(v - t) for v, t in zip(row, truth, strict=True)] for row, truth in zip(p, y, strict=True)]
    return [[sum(row) / 2] for row in far] if is_softmax else far


def harmonised(batches, momentum, bins=BINS):
    """Factors of the last of some batches of gradient lengths, after steps on all of them, and the shares kept."""
    kept = [0.0] * bins
    for step, batch in enumerate(batches, start=1):
        places = [[min(int(length * bins), bins - 1) for length in row] for row in batch]
        flat = [place for row in places for place in row]
        share = [flat.count(place) / len(flat) for place in range(bins)]
        kept = [momentum * old + (1 - momentum) * new for old, new in zip(kept, share, strict=True)]
        right = [value / (1 - momentum**step) for value in kept]
    used = len(set(flat))
    return [[1 / (right[place] * used) for place in row] for row in places], kept


def hardest(hardness, ratio):
    """n / k for the k largest of a list, the first of equals, else 0."""
    k = max(1, math.floor(len(hardness) * ratio + 0.5))
    best = sorted(range(len(hardness)), key=lambda place: (-hardness[place], place))[:k]
    return [len(hardness) / k if place in best else 0.0 for place in range(len(hardness))]


def times(*tables):
    """The product of tables, entry by entry; a table of one column counts for all."""
    width = max(len(table[0]) for table in tables)
    wide = [[row * width if len(row) == 1 else row for row in table] for table in tables]
    return [[math.prod(values) for values in zip(*rows, strict=True)] for rows in zip(*wide, strict=True)]
