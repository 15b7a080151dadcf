"""params.yaml: every way of being wrong gets one message that says what, where, what was expected and what to type."""

import json
import math
import time
from pathlib import Path

import pytest
import small_settings
from hypothesis import given
from hypothesis import strategies as st

from components import settings
from components.errors import UserError
from components.runtime import Runtime
from components.settings import Params, plain, section_model
from components.strict_yaml import parse_yaml


@pytest.fixture(autouse=True)
def small_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SECTIONS", small_settings.SECTIONS)


def load(folder: Path, text: str, *overrides: str) -> Params:
    file = folder / "params.yaml"
    file.write_text(text)
    return Params.load(file, overrides)


@pytest.mark.parametrize(("text", "said"), [
    ("kettle: {}",
     "kettle is not a section; expected one of heat, kettles, pour, runtime, seed. Did you mean 'kettles'?"),
    ("heat: {slwo: true}",
     "heat.slwo is not a setting; expected one of flame, steps, slow. Did you mean 'slow'?"),
    ("heat: {flame: {feul: gas}}",
     "heat.flame.feul is not a setting; expected one of fuel, rate. Did you mean 'fuel'?"),
    ("heat: {flame: {fuel: cola}}",
     "heat.flame.fuel is 'cola'; expected one of gas, wood, coal. Did you mean 'coal'?"),
    ("kettles: {big: {flames: {left: {fuel: wod}}}}",
     "kettles.big.flames.left.fuel is 'wod'; expected one of gas, wood, coal. Did you mean 'wood'?"),
    ("runtime: {devise: cpu}", "runtime.devise is not a setting; expected one of threads, "),
    ("kettles: {big: {litres: 2.5}}", "kettles.big.litres is 2.5; expected a whole number"),
    ("kettles: {big: {litres: '2'}}", "kettles.big.litres is '2'; expected a whole number"),
    ("kettles: {big: {litres: true}}", "kettles.big.litres is True; expected a whole number"),
    ("kettles: {big: {litres: 0}}", "kettles.big.litres is 0; expected greater than or equal to 1"),
    ("kettles: {big: {label: 7}}", "kettles.big.label is 7; expected text"),
    ("kettles: {big: 7}", "kettles.big is 7; expected keys below it"),
    ("heat: {slow: no}", "heat.slow is 'no'; expected true or false"),
    ("heat: {steps: 3}", "heat.steps is 3; expected a list"),
    ("heat: {steps: []}", "heat.steps is []; expected to have at least 1 item"),
    ("heat: {flame: hot}", "heat.flame is 'hot'; expected keys below it"),
    ("heat: {flame: {rate: .inf}}", "heat.flame.rate is inf; expected a finite number"),
    ("heat: {flame: {rate: -.inf}}", "heat.flame.rate is -inf; expected a finite number"),
    ("heat: {flame: {rate: .nan}}", "heat.flame.rate is nan; expected a finite number"),
    ("heat: {flame: {rate: 1e999}}", "heat.flame.rate is inf; expected a finite number"),
    ("seed: -1", "seed is -1; expected greater than or equal to 0"),
    ("seed: 2026-11-21", "seed is read as a date ('2026-11-21'); expected text"),
    ("heat: []", "heat is []; expected keys below it"),
    ("kettles: [big]", "kettles is ['big']; expected a name for each of the kettles"),
    ("kettles: {big one: {}}", "kettles.big one is no usable name"),
    ("kettles: {../up: {}}", "kettles.../up is no usable name"),
    ("heat: {3: 4}", "the key heat.3 is no text"),
    ("pour: {seed: 3}", "pour.seed is not read here"),
    ("pour: {fuel: wood}", "pour.fuel is not read here"),
    ("pour: {heat: {slow: true}}", "pour.heat is not read here"),
])
def test_a_wrong_setting_is_named_with_what_was_expected(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    assert said in caught.value.cause
    assert str(tmp_path / "params.yaml") in caught.value.cause and "\n" not in caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize(("content", "said"), [
    (b"a: &x 1\nb: *x", "line 1: anchors and aliases are not read"),
    (b"a: !!python/object/apply:os.system ['touch pwned']", "line 1: tags are not read"),
    (b"a: !secret 1", "line 1: tags are not read"),
    (b"seed: 1\nseed: 2", "line 2, column 1: found duplicate key"),
    (b"heat: {slow: true\n", "line 2, column 1"),
    (b"\tseed: 1", "line 1, column 1"),
    (b"- seed", "holds ['seed']; expected sections"),
    (b"7", "holds 7; expected sections"),
    (b"seed: \xff", "is not UTF-8 text (byte 6)"),
    (b"seed: 1\n---\nseed: 2", "line 2, column 1"),
    (b"seed: " + b"9" * 5000, "Exceeds the limit"),
    (b"[" * 50_000, "nested deeper than"),
    (b"{a: " * 50_000, "nested deeper than"),
    (b"a: [" + b"1," * 50_000 + b"]", "more than 20000 values"),
    (b"a: " + b"x" * 300_000, "has 300003 bytes"),
    (b"a0: &a0 [lol]\n" + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10))
                                   for n in range(1, 10)), "anchors and aliases are not read"),
    (b'a: "\\ud800"', "a holds half a character"),
])
def test_yaml_that_could_hang_or_surprise_is_refused_quickly(content: bytes, said: str) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=r"^params\.yaml") as caught:
        parse_yaml(content, "params.yaml")
    assert said in caught.value.cause and time.monotonic() - started < 5


letters = st.characters(exclude_categories=["Cs", "Cc"], max_codepoint=0xFFFF, exclude_characters="\ufeff")
words = st.text(letters, max_size=20)
numbers = st.integers(-2**53, 2**53) | st.floats(allow_nan=False, allow_infinity=False)
plain_values = st.none() | st.booleans() | numbers | words


@given(st.recursive(plain_values, lambda below: st.lists(below, max_size=4) | st.dictionaries(words, below, max_size=4),
                    max_leaves=12))
def test_json_is_read_as_json(value: object) -> None:
    text = json.dumps({"value": value}, ensure_ascii=True)
    assert parse_yaml(text.encode(), "x")["value"] == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        assert isinstance(parse_yaml(content, "x"), dict)
    except UserError as error:
        assert error.cause


def test_defaults_stand_where_the_file_is_silent(tmp_path: Path) -> None:
    params = load(tmp_path, "kettles: {a: }")
    assert params.section("heat") == small_settings.Heat() and params.setting("kettles.a.litres") == 1
    assert params.section("pour") == small_settings.Pour(kettles=("a",))


def test_shared_values_reach_the_sections_that_name_them(tmp_path: Path) -> None:
    params = load(tmp_path, "seed: 7\nheat: {flame: {fuel: wood}, steps: [2, 3]}\nkettles: {b: {}, a: {litres: 3}}\n"
                            "runtime: {threads: 2}")
    heat = small_settings.Heat(flame=small_settings.Flame(fuel="wood"), steps=(2, 3))
    expected = small_settings.Pour(seed=7, fuel="wood", heat=heat, kettles=("b", "a"), runtime=Runtime(threads=2))
    assert params.section("pour") == expected
    assert params.section("kettles.a") == small_settings.Kettle(litres=3, seed=7, runtime=Runtime(threads=2))


def test_a_wrong_shared_value_is_blamed_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, "kettles: {a: {}}").section("kettles.a")
        load(tmp_path, "runtime: {threads: -1}\nkettles: {a: {}}")
    assert "runtime.threads is -1" in caught.value.cause


def test_an_override_is_read_as_the_file_would_be(tmp_path: Path) -> None:
    text = "kettles: {a: {litres: 3}}"
    overrides = ["kettles.a.litres=5", "heat.flame.rate=1e-3", "heat.steps=[4, 5]", "kettles.b.label=no"]
    params = load(tmp_path, text, *overrides)
    assert params.section("kettles.a") == small_settings.Kettle(litres=5)
    assert params.section("kettles.b") == small_settings.Kettle(label="no")
    assert params.section("heat") == small_settings.Heat(flame=small_settings.Flame(rate=1e-3), steps=(4, 5))


@pytest.mark.parametrize("override", ["litres", "=3", "seed.deep=1", "kettles.a.litre=3", "kettles.a.litres=[1",
                                      "heat.flame.rate=.nan", "heat.steps=*a", "nowhere=1", "kettles.a..litres=1"])
def test_a_bad_override_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, "seed: 0", override)
    assert override.partition("=")[0].rpartition(".")[2] in caught.value.cause


def test_a_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file") as caught:
        Params.load(tmp_path / "nothing.yaml")
    assert "--params" in caught.value.remedy


def test_the_whole_file_is_checked_in_a_blink(tmp_path: Path) -> None:
    kettle = "{litres: 2, flames: {a: {fuel: wood}}}"
    text = "seed: 1\nkettles:\n" + "".join(f"  k{n}: {kettle}\n" for n in range(50))
    load(tmp_path, text)
    started = time.monotonic()
    load(tmp_path, text)
    assert time.monotonic() - started < 1


def test_settings_that_cannot_change_a_result_enter_no_digest() -> None:
    here = small_settings.Kettle(runtime=Runtime(threads=8, device="cpu"))
    assert here.digestible() == small_settings.Kettle().digestible()
    assert "runtime" not in here.digestible()


def test_an_unknown_section_is_refused() -> None:
    with pytest.raises(UserError, match="Did you mean 'pour'"):
        section_model("puor")
    with pytest.raises(UserError, match="is not a section"):
        section_model("heat.deep")


def test_flat_names_are_those_of_the_command_line() -> None:
    assert plain({"a": {"b": {"c": 1}, "d": []}, "e": {}}) == {"a.b.c": 1, "a.d": [], "e": {}}
    assert math.isclose(plain({"x": 1e-3}, "s")["s.x"], 0.001)
