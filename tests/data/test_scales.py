import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.data.batch_settings import Scales
from components.data.scales import size_at
from components.training.settings import Recipe


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 600), st.integers(8, 600), st.floats(0.01, 0.5), st.integers(1, 64), st.integers(0, 10_000))
def test_regression_10_every_size_is_on_the_grid_and_near_the_one_asked_for(height, width, share, grid, step):
    found = size_at(Scales(share=share, grid=grid), (height, width), 3, step)
    assert found[0] % grid == 0 and found[1] % grid == 0 and min(found) >= grid
    assert abs(found[0] - height) <= max(share * height, grid)
    assert abs(found[1] - found[0] * width / height) <= max(grid / 2, grid - found[0] * width / height)


def test_regression_10_every_rank_and_every_restart_sees_the_same_sizes():
    """A size is a function of (seed, step) alone: neither asking before nor asking out of order changes it."""
    wish = Scales(share=0.3, every=4)
    forth = [size_at(wish, (224, 160), 5, step) for step in range(100)]
    back = [size_at(wish, (224, 160), 5, step) for step in reversed(range(100))]
    assert forth == back[::-1]
    assert all(len(set(forth[start : start + 4])) == 1 for start in range(0, 100, 4))
    assert [size_at(wish, (224, 160), 6, step) for step in range(100)] != forth


def test_all_multiples_within_the_share_come_about_equally_often():
    wish = Scales(share=0.15, every=1)
    seen = [size_at(wish, (224, 224), 0, step)[0] for step in range(900)]
    assert set(seen) == {192, 224, 256} and min(map(seen.count, set(seen))) > 250
    assert all(height == width for height, width in (size_at(wish, (224, 224), 0, step) for step in range(50)))


def test_without_a_share_the_size_stays_even_off_the_grid():
    assert size_at(Scales(), (65, 31), 0, 17) == (65, 31)


def test_scales_that_never_change_anything_are_refused():
    with pytest.raises(ValidationError, match="raise share or lower grid"):
        Recipe(sizes=(64,), scales=Scales(share=0.15))
    assert Recipe(sizes=(64,), scales=Scales(share=0.15, grid=8)).scales.heights(64) == [56, 64, 72]
    assert Recipe(sizes=(64, (112, 80)), scales=Scales(share=0.15)).scales.heights(112) == [96, 128]
