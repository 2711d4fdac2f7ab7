"""Numbers and dates as people write them and as they say them, in English."""

from datetime import date

_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_MONTHS = "january february march april may june july august september october november december"

ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", *_TEENS.split())
TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = ("", "thousand", "million", "billion")
MONTHS = tuple(_MONTHS.split())
IRREGULAR = {"one": "first", "two": "second", "three": "third", "five": "fifth"}
IRREGULAR |= {"eight": "eighth", "nine": "ninth", "twelve": "twelfth"}
LARGEST = 1000 ** len(SCALES) - 1


def number_words(number: int) -> str:
    """Say a whole number: 312 is "three hundred twelve", 21005 "twenty-one thousand five".

    Raises:
        ValueError: it is negative or above 999,999,999,999.
    """
    if not 0 <= number <= LARGEST:
        raise ValueError(f"{number} cannot be said: numbers go from 0 to {LARGEST}")
    groups: list[str] = []
    rest, scale = number, 0
    while rest:
        rest, group = divmod(rest, 1000)
        if group:
            groups.insert(0, f"{_below_thousand(group)} {SCALES[scale]}".strip())
        scale += 1
    return " ".join(groups) or ONES[0]


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    said = [f"{ONES[hundreds]} hundred"] if hundreds else []
    if rest:
        said.append(_below_hundred(rest))
    return " ".join(said)


def _below_hundred(number: int) -> str:
    if number < len(ONES):
        return ONES[number]
    tens, ones = divmod(number, 10)
    return f"{TENS[tens]}-{ONES[ones]}" if ones else TENS[tens]


def ordinal_words(number: int) -> str:
    """Say a place: 1 is "first", 20 "twentieth", 21 "twenty-first".

    Raises:
        ValueError: as `number_words`.
    """
    said = number_words(number)
    start = max(said.rfind(" "), said.rfind("-")) + 1
    last = said[start:]
    if last not in IRREGULAR:
        return said[:start] + (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return said[:start] + IRREGULAR[last]


def year_words(year: int) -> str:
    """Say a year of four digits: 1987 is "nineteen eighty-seven", 1905 "nineteen oh five", 2004 "two thousand four".

    Raises:
        ValueError: it is not from 1000 to 9999.
    """
    if not 1000 <= year <= 9999:
        raise ValueError(f"{year} is no year of four digits")
    century, rest = divmod(year, 100)
    if century % 10 == 0 and rest < 10:
        return number_words(year)
    if rest == 0:
        return f"{_below_hundred(century)} hundred"
    return f"{_below_hundred(century)} {'oh ' if rest < 10 else ''}{_below_hundred(rest)}"


def date_words(day: date) -> str:
    """Say a date: 2026-11-26 is "november twenty-sixth, twenty twenty-six".

    Raises:
        ValueError: its year is below 1000.
    """
    return f"{MONTHS[day.month - 1]} {ordinal_words(day.day)}, {year_words(day.year)}"
