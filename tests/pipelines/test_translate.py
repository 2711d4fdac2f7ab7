"""Generated translations: what is said of numbers and dates, which are drawn, what is held out."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.datasets.parts.notation import LARGEST, date_words, number_words, ordinal_words, year_words
from pipelines.datasets.translate import NAMES, TRANSLATE, TranslateFetch, count, shares
from pipelines.formats.pairs import HELD_OUT, PAIRS, PairsPrepare, read_pairs

DIRECTIONS = pytest.mark.parametrize("name", NAMES)


def generated(folder: Path, **settings: Any) -> Path:
    folder.mkdir(exist_ok=True)
    TRANSLATE.fetch(TranslateFetch(**settings), folder, folder)
    return folder


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "zero"),
        (7, "seven"),
        (12, "twelve"),
        (20, "twenty"),
        (45, "forty-five"),
        (100, "one hundred"),
        (312, "three hundred twelve"),
        (1000, "one thousand"),
        (21005, "twenty-one thousand five"),
        (1000000, "one million"),
        (12000300, "twelve million three hundred"),
        (900000000099, "nine hundred billion ninety-nine"),
    ],
)
def test_numbers_are_said_in_english(number: int, said: str) -> None:
    assert number_words(number) == said


UNITS = {word: number for number, word in enumerate(number_words(n) for n in range(20))}
TENS = {number_words(number): number for number in range(20, 100, 10)}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}


def heard(said: str) -> int:
    """The number that is said, reckoned in another way than it was put into words."""
    total = group = 0
    for word in said.replace("-", " ").split():
        if word in SCALES:
            total, group = total + group * SCALES[word], 0
        elif word == "hundred":
            group *= 100
        else:
            group += UNITS[word] if word in UNITS else TENS[word]
    return total + group


@given(st.integers(0, LARGEST))
def test_what_is_said_is_the_number(number: int) -> None:
    assert heard(number_words(number)) == number


@pytest.mark.parametrize(
    ("number", "said"),
    [
        *[(1, "first"), (2, "second"), (3, "third"), (4, "fourth"), (5, "fifth"), (8, "eighth"), (9, "ninth")],
        *[(12, "twelfth"), (20, "twentieth"), (21, "twenty-first"), (30, "thirtieth"), (112, "one hundred twelfth")],
    ],
)
def test_places_are_said_in_english(number: int, said: str) -> None:
    assert ordinal_words(number) == said


@pytest.mark.parametrize(
    ("year", "said"),
    [
        *[(1987, "nineteen eighty-seven"), (1900, "nineteen hundred"), (1905, "nineteen oh five")],
        *[(2000, "two thousand"), (2004, "two thousand four"), (2010, "twenty ten"), (1066, "ten sixty-six")],
    ],
)
def test_years_are_said_in_english(year: int, said: str) -> None:
    assert year_words(year) == said


def test_dates_are_said_in_english_each_in_its_own_way() -> None:
    assert date_words(date(2026, 11, 26)) == "november twenty-sixth, twenty twenty-six"
    days = [date(1899, 1, 1) + timedelta(days=day) for day in range(60000)]
    assert len({date_words(day) for day in days}) == len(days)


@pytest.mark.parametrize("number", [-1, LARGEST + 1])
def test_what_cannot_be_said_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"{number} cannot be said"):
        number_words(number)
    with pytest.raises(ValueError, match="no year of four digits"):
        year_words(999)


@DIRECTIONS
def test_every_translation_is_right(name: str, tmp_path: Path) -> None:
    raw = generated(tmp_path / "raw", translations=[name], pairs=300)
    pairs = read_pairs(raw / PAIRS)
    assert len(pairs) == 300
    for _, source, target in pairs:
        said, written = (source, target) if name.startswith("words") else (target, source)
        if "dates" in name:
            assert said == date_words(date.fromisoformat(written))
            assert 1800 <= date.fromisoformat(written).year <= 2099
        else:
            assert heard(said) == int(written)
            assert len(written) in (1, 2, 3, 5)
    assert (raw / HELD_OUT).exists() == ("digits" in name)


def test_lengths_that_are_held_out_are_in_no_pair(tmp_path: Path) -> None:
    raw = generated(tmp_path / "raw", lengths=[2, 4], held_out_lengths=[1, 3, 6], held_out_pairs=50, pairs=500)
    numbers = [pair.target for pair in read_pairs(raw / PAIRS) if "-" not in pair.target]
    apart = [pair.target for pair in read_pairs(raw / HELD_OUT)]
    assert {len(number) for number in numbers} == {2, 4}
    assert [sum(len(number) == length for number in apart) for length in (1, 3, 6)] == [10, 50, 50]
    assert len(set(numbers)) == len(numbers) == 500


def test_seeds_make_the_difference(tmp_path: Path) -> None:
    one, same, other = (
        generated(tmp_path / name, seed=seed, pairs=50) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    for name in (PAIRS, HELD_OUT):
        assert (one / name).read_bytes() == (same / name).read_bytes()
        assert (one / name).read_bytes() != (other / name).read_bytes()


def test_few_short_numbers_leave_room_for_long_ones() -> None:
    assert shares([5, 1, 2], 1000) == {1: 10, 2: 90, 5: 900}
    assert shares([3], 10**6) == {3: 900}
    assert [count(length) for length in (1, 2, 3)] == [10, 90, 900]
    assert sum(shares([1, 2, 3, 5], 1500).values()) == 1500


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lengths": [2, 3], "held_out_lengths": [3]}, "numbers of 3 digits cannot be both trained on and held out"),
        ({"lengths": [13]}, "numbers have 1 to 12 digits, not 13"),
        ({"first_year": 2000, "last_year": 1999}, "first_year 2000 comes after last_year 1999"),
        ({"translations": ["words-to-roman"]}, "words-to-digits"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TranslateFetch.model_validate(wrong)


def test_the_default_says_what_it_prepared(tmp_path: Path) -> None:
    raw = generated(tmp_path / "raw")
    (tmp_path / "prepared").mkdir()
    said = TRANSLATE.prepare(raw, PairsPrepare(), tmp_path / "prepared")
    assert said == "2100 train, 450 val, 450 test, 400 held_out; vocabularies of 70 and 15 words"
