"""Words that are read in answers: of formulas, of units, and those that turn a number into another."""

from fractions import Fraction

FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "log",
        "ln",
        "lg",
        "exp",
        "sqrt",
        "max",
        "min",
        "gcd",
        "lcm",
        "mod",
        "det",
        "inf",
        "sup",
        "lim",
        "abs",
        "floor",
        "ceil",
        "cis",
        "erf",
        "binom",
        "pi",
        "infinity",
    ]
)

SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}

QUALIFIERS = frozenset(
    [
        "not",
        "isn't",
        "aren't",
        "no",
        "never",
        "wrong",
        "incorrect",
        "false",
        "otherwise",
        "if",
        "unless",
        "except",
        "more",
        "less",
        "fewer",
        "least",
        "most",
        "greater",
        "smaller",
        "larger",
        "bigger",
        "else",
        "maybe",
        "perhaps",
        "neither",
        "nor",
        "than",
        "between",
        "cannot",
        "can't",
        "without",
        "over",
        "under",
        "above",
        "below",
        "beyond",
        "exceeding",
        "versus",
        "instead",
        "unlikely",
        "impossible",
    ]
)
"""A number beside one of these is not that number."""

_LENGTH, _TIME, _MASS, _MONEY, _ANGLE = "length", "time", "mass", "money", "angle"
Dimension = tuple[tuple[str, int], ...]


def _table() -> dict[str, tuple[str, Fraction]]:
    found: dict[str, tuple[str, Fraction]] = {}

    def add(dimension: str, factor: Fraction | int | str, names: str) -> None:
        for name in names.split():
            found[name] = (dimension, Fraction(factor))

    add(_LENGTH, 1, "m meter meters metre metres")
    add(_LENGTH, "0.3048", "ft foot feet")
    add(_LENGTH, "0.0254", "inch inches")
    add(_LENGTH, "0.9144", "yd yard yards")
    add(_LENGTH, "1609.344", "mi mile miles")
    add(_TIME, 1, "s sec secs second seconds")
    add(_TIME, 60, "min mins minute minutes")
    add(_TIME, 3600, "h hr hrs hour hours")
    add(_TIME, 86400, "day days")
    add(_TIME, 604800, "week weeks")
    add(_TIME, 31557600, "yr yrs year years")
    add("months", 1, "month months")
    add(_MASS, "0.001", "g gram grams")
    add(_MASS, "0.45359237", "lb lbs pound pounds")
    add(_MASS, "0.028349523125", "oz ounce ounces")
    add(_MASS, 1000, "tonne tonnes")
    add(_MONEY, 100, "dollar dollars USD $")
    add(_MONEY, 1, "cent cents")
    add("euros", 1, "euro euros EUR")
    add("pounds sterling", 1, "GBP sterling")
    add("rupees", 1, "rupee rupees Rs INR")
    add("yen", 1, "yen JPY")
    add("yuan", 1, "yuan RMB CNY")
    add(_ANGLE, 1, "degree degrees deg")
    add("radians", 1, "rad radian radians")
    for prefix, power in (
        ("k", 3),
        ("c", -2),
        ("m", -3),
        ("n", -9),
        ("μ", -6),
        ("µ", -6),
        ("d", -1),
    ):
        add(_LENGTH, Fraction(10) ** power, f"{prefix}m")
        add(_MASS, Fraction(10) ** (power - 3), f"{prefix}g")
        if prefix != "d" and prefix != "c" and prefix != "k":
            add(_TIME, Fraction(10) ** power, f"{prefix}s")
    for prefix, power in (("kilo", 3), ("centi", -2), ("milli", -3), ("micro", -6), ("nano", -9)):
        for stem in ("meter", "metre"):
            add(_LENGTH, Fraction(10) ** power, f"{prefix}{stem} {prefix}{stem}s")
        add(_MASS, Fraction(10) ** (power - 3), f"{prefix}gram {prefix}grams")
        add(_TIME, Fraction(10) ** power, f"{prefix}second {prefix}seconds")
    return found


UNITS = _table()
"""Units of one dimension by name, each with its size in the base unit of that dimension."""

_MECHANICS: dict[str, tuple[dict[str, int], Fraction]] = {}


def _derived(names: str, factor: Fraction | int | str, **dimension: int) -> None:
    for name in names.split():
        _MECHANICS[name] = (dimension, Fraction(factor))


_derived("mph", "0.44704", length=1, time=-1)
_derived("kmh kph kmph", Fraction(1000, 3600), length=1, time=-1)
_derived("l L liter liters litre litres", "0.001", length=3)
_derived("ml mL milliliter milliliters millilitre millilitres cc", "0.000001", length=3)
_derived("gal gallon gallons", "0.003785411784", length=3)
_derived("acre acres", "4046.8564224", length=2)
_derived("ha hectare hectares", 10000, length=2)
_derived("N newton newtons", 1, mass=1, length=1, time=-2)
_derived("J joule joules", 1, mass=1, length=2, time=-2)
_derived("kJ", 1000, mass=1, length=2, time=-2)
_derived("erg ergs", "0.0000001", mass=1, length=2, time=-2)
_derived("W watt watts", 1, mass=1, length=2, time=-3)
_derived("kW", 1000, mass=1, length=2, time=-3)
_derived("Pa pascal pascals", 1, mass=1, length=-1, time=-2)
_derived("Hz hertz", 1, time=-1)
DERIVED = _MECHANICS
"""Units of several dimensions, with their size in metres, kilograms and seconds."""

OTHERS = frozenset(
    [
        "eV",
        "keV",
        "MeV",
        "GeV",
        "K",
        "Kelvin",
        "kelvin",
        "kelvins",
        "Celsius",
        "Fahrenheit",
        "mol",
        "moles",
        "V",
        "volt",
        "volts",
        "ohm",
        "ohms",
        "A",
        "amp",
        "amps",
        "ampere",
        "amperes",
        "T",
        "tesla",
        "teslas",
        "C",
        "coulomb",
        "coulombs",
        "F",
        "farad",
        "farads",
        "H",
        "henry",
        "atm",
        "bar",
        "mmHg",
        "M",
        "units",
        "unit",
        "square",
        "squared",
        "cubic",
        "cubed",
        "per",
        "sq",
        "cu",
        "and",
        "or",
        "old",
        "people",
        "points",
        "persons",
    ]
)

KNOWN_WORDS = FUNCTIONS | frozenset(SCALES) | frozenset(UNITS) | frozenset(DERIVED) | OTHERS | {
    "percent", "pct", "percentage", "undefined", "infinite", "oo",
}  # fmt: skip
"""Words that may stand in a formula without making it prose."""
