"""docs/conformance.md as data: its rows, what a run adds to them, and its sums.

A row that another test answers for keeps that answer unless a replay passed; a replay that did not
pass is never written. The sums are made from the rows, so they cannot be wrong.
"""

import collections
import pathlib
import re

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
ROW = re.compile(r"^\| (?P<area>[a-z0-9-]+) \| (?P<test>\\\[.*) \| (?P<result>.*) \| (?P<date>[\d-]+) \|$")


def rows():
    """Every row of the table of tests, by the test's complete name."""
    found = {}
    for line in DOCUMENT.read_text().splitlines():
        if match := ROW.match(line):
            found[match["test"].replace("\\[", "[")] = match
    return found


def unknown(cases):
    """Registered names that no row has: slips of the pen."""
    known = rows()
    return [case.name for case in cases if case.name not in known]


def write(passed, date):
    """Notes what passed, and makes the sums again."""
    answers = {case.name: case.id for case in passed}
    lines, sums, total = [], collections.Counter(), collections.Counter()
    for line in DOCUMENT.read_text().splitlines():
        if match := ROW.match(line):
            line = noted(match, answers, date)
            area = match["area"]
            total[area] += 1
            sums[area] += "own equivalent" in line
        lines.append(line)
    DOCUMENT.write_text(summed("\n".join(lines) + "\n", sums, total))


def noted(match, answers, date):
    identity = answers.get(match["test"].replace("\\[", "["))
    if identity is None or f"`{identity}`" in match["result"]:
        return match[0]
    earlier = match["result"].removeprefix("own equivalent: ")
    kept = f", {earlier}" if earlier.startswith("`") and "tests/conformance" not in earlier else ""
    result = f"own equivalent: `{identity}`{kept}"
    return f"| {match['area']} | {match['test']} | {result} | {date} |"


def summed(text, sums, total):
    """The sentence and the table of sums, from the rows."""
    own, all_tests = sum(sums.values()), sum(total.values())
    sentence = (f"{all_tests} tests: {own} with an equivalent of our own, "
                f"{all_tests - own} not run, 0 passed.")
    text = re.sub(r"^\d+ tests: .*$", sentence, text, flags=re.M)
    some = [area for area in sorted(total) if sums[area]]
    none = [area for area in total if not sums[area]]
    table = [f"| {area} | {sums[area]} | {total[area]} |" for area in some]
    if none:
        count = sum(total[area] for area in none)
        table.append(f"| the other {len(none)} areas | 0 | {count} |")
    head = "| area | own equivalent | of |\n| --- | ---: | ---: |\n"
    return re.sub(re.escape(head) + r"(\|.*\n)*", head + "\n".join(table) + "\n", text)
