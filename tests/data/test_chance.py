import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.data.chance import batch_seed, generator, mix, sample_keys, uniforms


def splitmix64(state: int, count: int) -> list[int]:
    """The published generator, step by step on Python integers."""
    words, mask = [], (1 << 64) - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        words.append(z ^ (z >> 31))
    return words


@given(st.integers(0, 2**64 - 1))
def test_draws_are_those_of_the_published_generator(key):
    drawn = uniforms(np.array([key], np.uint64), 5)[0]
    assert drawn.tolist() == [(word >> 11) * 2.0**-53 for word in splitmix64(key, 5)]


def test_draws_do_not_depend_on_who_stands_beside():
    ids = np.random.default_rng(0).integers(0, 256, (50, 32), dtype=np.uint8)
    together = uniforms(sample_keys(3, "augment", ids, 2), 4)
    alone = np.concatenate([uniforms(sample_keys(3, "augment", ids[i : i + 1], 2), 4) for i in range(50)])
    assert np.array_equal(together, alone)


def test_seed_purpose_sample_and_view_each_change_the_draws():
    ids = np.random.default_rng(0).integers(0, 256, (2, 32), dtype=np.uint8)
    keys = {
        int(sample_keys(seed, purpose, ids[i : i + 1], view)[0])
        for seed in (0, 1)
        for purpose in ("a", "b")
        for i in (0, 1)
        for view in (0, 1, 2)
    }
    assert len(keys) == 24


def test_draws_fill_the_unit_interval_evenly():
    ids = np.random.default_rng(1).integers(0, 256, (20_000, 32), dtype=np.uint8)
    draws = uniforms(sample_keys(0, "augment", ids, 1), 3)
    assert draws.min() >= 0 and draws.max() < 1
    counts = np.stack([np.histogram(draws[:, k], 20, (0, 1))[0] for k in range(3)])
    assert ((counts - 1000) ** 2 / 1000).sum(axis=1).max() < 50  # chi-square with 19 degrees: beyond 50 once in 10,000
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03


def test_batch_seeds_differ_by_every_counter_and_fit_a_torch_seed():
    seeds = [batch_seed(s, p, *c) for s in (0, 1) for p in ("order", "step") for c in ((), (0,), (1,), (0, 1))]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    assert generator(0, "order", 4).integers(1 << 30) == generator(0, "order", 4).integers(1 << 30)


def test_mixing_is_one_to_one_on_a_sample():
    words = np.arange(100_000, dtype=np.uint64)
    assert len(np.unique(mix(words))) == len(words)
