"""Reference answers that the verifier does not accept from themselves, by style, and why.

All are in one style: the bare text, without box, dollars or a word around it. math-verify finds
numbers in such a text but no formulas, and answers "not equal". The verifier gives math-verify's
verdict wherever that one answers, so these stay. In a box and in dollars all of them are accepted.
"""

LISTS = {  # math-verify reads `1,3` as 1.3 and `3, 5, 7` as 7
    "math500-intermediate_algebra": "428 1102 1388",
    "math500-counting_and_probability": "508",
    "math500-number_theory": "417",
    "olympiad": "1664 1709 1800 1807 2000 2012 2111 2193 2216 2235 2238 2268 2277 2282 2301 2317 "
    "2323 2326 2338 2340 2349 2356 2369 2370 2382 2391 2420 2421 2423 2439 2443 2453 "
    "2472 2490 2521 2536 2568 2575 2684 2753 2754 2862 2863",
}

FORMULAS = {  # math-verify reads one number out of the formula, such as 3 out of `3\\sqrt{13}`
    "math500-precalculus": "145 263 323 356 398 477 541 625 659 695 703 768 779 807 881 920 990 1056 1133 "
    "1281 1291 1300",
    "math500-algebra": "518 1098 1547 1796 2036 2043 2264 2470 2486 2680",
    "math500-prealgebra": "153 1298 1302 1423 1512 1924",
    "math500-intermediate_algebra": "199 662 1063 1210 1217 1405 1454 1467 1566 1797",
    "math500-geometry": "686 711 826 843 880",
    "olympiad": "1612 1614 1620 1644 1659 1662 1687 1723 1747 1810 1854 1883 1914 1920 1938 1940 "
    "1964 1969 1970 1988 2011 2040 2063 2099 2127 2152 2174 2198 2230 2258 2287 2289 "
    "2303 2331 2332 2336 2346 2375 2376 2397 2410 2427 2445 2461 2467 2486 2498 2501 "
    "2502 2509 2523 2524 2539 2549 2560 2574 2596 2609 2640 2645 2649 2679 2702 2740 "
    "2745 2765 2802 2824 2888 2891 2897 2914 2919 2958 2964 2968 2987 3043 3075",
}


def _written_out(families: dict[str, str]) -> set[str]:
    return {f"{name}-{number}" for name, numbers in families.items() for number in numbers.split()}


REMAINDER: dict[tuple[str, str], str] = {
    (identifier, "bare"): reason
    for reason, families in {"a list": LISTS, "a formula": FORMULAS}.items()
    for identifier in _written_out(families)
}
