"""Tables of costs and bounds: what is read, and what is refused with words that help."""

import pytest
import torch
from cases import COSTS, KIND, TAGS, about_of
from pydantic import ValidationError

from components.errors import UserError
from components.losses.criterion import build_criterion
from components.losses.settings import Cost, Ghm, Loss, Low, Ohem, Parts, Table, Threshold, Up
from components.losses.tables import matrix

SQUARE = {"rows": [[1.0, 2.0, 3.0]] * 3}
PLACES = {"cost": {"cost": SQUARE}, "threshold.low": {"threshold": {"low": {"rows": [[-0.5] * 3] * 3}}},
          "threshold.up": {"threshold": {"up": {"rows": [[1.5] * 3] * 3}}}}


@pytest.mark.parametrize("base", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", list(PLACES))
def test_regression_7_a_table_of_another_size_is_refused_with_the_shape_expected(name, base):
    with pytest.raises(UserError) as raised:
        build_criterion(about_of(KIND, base=base, **PLACES[name]))
    assert f"loss.{name}.rows is 3 x 3; kind has 4 classes: expected 4 x 4" in raised.value.cause
    assert "rows (true) and columns (predicted) in the order coat, dress, shirt, skirt" in raised.value.cause
    assert "give 4 rows of 4 numbers" in raised.value.remedy and "loss.tasks.kind" in raised.value.remedy
    build_criterion(about_of(TAGS, **PLACES[name]))  # a task of three classes takes it


@pytest.mark.parametrize("rows", [[[1.0, 2.0], [1.0]], [[1.0, 2.0, 3.0]], [[1.0], [2.0]]])
def test_regression_7_a_table_that_is_not_square_is_refused_with_its_lengths(rows):
    lengths = ", ".join(str(len(row)) for row in rows)
    with pytest.raises(ValidationError, match=f"as many columns as rows; {len(rows)} rows have {lengths}"):
        Cost(rows=tuple(tuple(row) for row in rows))


@pytest.mark.parametrize("cells", [{"dres": {"coat": 2.0}}, {"coat": {"dres": 2.0}}])
def test_regression_7_a_class_that_is_none_is_refused_with_a_near_name(cells):
    with pytest.raises(UserError, match=r"loss\.cost\.cells names dres, which is no class of kind") as raised:
        build_criterion(about_of(KIND, cost={"cells": cells}))
    assert "coat, dress, shirt, skirt" in raised.value.remedy and "Did you mean 'dress'?" in raised.value.remedy
    assert "loss.tasks.kind" in raised.value.remedy


@pytest.mark.parametrize("base", ["softmax", "sigmoid"])
def test_regression_7_tables_are_defined_for_soft_labels(base):
    about = about_of(KIND, base=base, cost={"rows": COSTS}, threshold={"up": {"diagonal": 0.9}})
    losses = build_criterion(about)(torch.randn(3, 4), torch.full((3, 4), 0.25), torch.ones(3))
    assert torch.isfinite(losses).all() and (losses > 0).all()


def test_a_table_is_a_diagonal_a_rest_and_single_cells_by_name():
    table = Cost(diagonal=2.0, other=0.5, cells={"coat": {"skirt": 7.0}, "dress": {"dress": 3.0, "coat": 0.0}})
    expected = [[2, 0.5, 0.5, 7], [0, 3, 0.5, 0.5], [0.5, 0.5, 2, 0.5], [0.5, 0.5, 0.5, 2]]
    assert matrix(table, KIND, "cost").tolist() == expected
    rows = tuple(tuple(row) for row in COSTS)
    assert torch.allclose(matrix(Cost(rows=rows), KIND, "cost"), torch.tensor(COSTS))
    assert matrix(Low(), KIND, "low").max() < 0 and matrix(Up(), KIND, "up").min() > 1


@pytest.mark.parametrize(("wrong", "said"), [
    (lambda: Table(rows=((1.0,),), other=2.0), "rows, or else other"),
    (lambda: Up(rows=((1.0,),), diagonal=0.95), "rows, or else diagonal"),
    (lambda: Cost(other=-1.0), "costs of at least 0"),
    (lambda: Cost(cells={"a": {"b": -0.5}}), "costs of at least 0"),
    (lambda: Cost(rows=((1.0, -1.0), (1.0, 1.0))), "costs of at least 0"),
    (lambda: Ohem(ratio=0.0), "greater than 0"),
    (lambda: Ohem(by="gradient"), "a ratio below 1 beside by or unit"),
    (lambda: Ghm(bins=1), "bins of at least 2"),
    (lambda: Ghm(momentum=0.9), "bins above 0 beside momentum"),
    (lambda: Ghm(bins=30, momentum=1.0), "less than 1"),
    (lambda: Parts.model_validate_json('{"focal": {"gamma": 2.0}, "asymmetric": {"negative": 4.0}}'),
     "focal or asymmetric"),
])
def test_settings_that_contradict_themselves_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        wrong()


@pytest.mark.parametrize(("task", "parts", "said"), [
    (KIND, {"asymmetric": {"negative": 2.0}}, "loss.asymmetric is about binary problems, but kind is a softmax"),
    (KIND, {"focal": {"alpha": 0.25}}, "loss.focal.alpha is about binary problems"),
    (KIND, {"ohem": {"ratio": 0.5, "unit": "problem"}}, "loss.ohem.unit: problem is about binary problems"),
    (KIND, {"base": "sigmoid", "adjust": 1.0}, "loss.adjust is about a softmax, but kind is 4 binary problems"),
    (TAGS, {"adjust": 1.0}, "loss.adjust is about a softmax, but tags is 3 binary problems"),
    (TAGS, {"balance": 0.9}, "loss.balance is about one label a sample, but tags has several"),
    (KIND, {"cost": {"diagonal": 0.0}}, "loss.cost of kind has a diagonal that is not above 0"),
    (KIND, {"threshold": {"low": {"diagonal": 0.9}, "up": {"diagonal": 0.1}}}, "leaves nothing between low and up"),
])
def test_a_part_that_means_nothing_for_a_task_is_refused(task, parts, said):
    with pytest.raises(UserError) as raised:
        build_criterion(about_of(task, **parts))
    assert said in raised.value.cause and raised.value.remedy


def test_a_threshold_that_is_empty_names_the_pair():
    low = {"cells": {"shirt": {"coat": 2.0}}}
    with pytest.raises(UserError, match="where shirt is true and coat is said"):
        build_criterion(about_of(KIND, threshold={"low": low}))


def test_a_task_may_have_a_loss_of_its_own():
    loss = Loss(balance=0.9, tasks={"tags": Parts(), "kind": Parts(threshold=Threshold(up=Up(diagonal=0.9)))})
    assert loss.of("tags") == Parts() and loss.of("kind").balance == 0 and loss.of("other").balance == 0.9
