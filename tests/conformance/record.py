"""docs/conformance.md as data: its rows, what a run adds to them, and its sums.

A row that another test answers for keeps that answer unless a replay passed; what did not pass is never
written. The sums are made from the rows, so they cannot be wrong.
"""

import collections
import pathlib
import re

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
ROW = re.compile(r"^\| (?P<area>[a-z0-9-]+) \| (?P<test>\\\[.*) \| (?P<result>.*) \| (?P<date>[\d-]+) \|$")
OWN = "own equivalent: "


def rows():
    """Every row of the table of tests, by the test's complete name."""
    found = {}
    for line in DOCUMENT.read_text().splitlines():
        if match := ROW.match(line):
            found[name(match)] = match
    return found


def name(match):
    return match["test"].replace("\\[", "[")


def unknown(cases):
    """Registered names that no row has: slips of the pen."""
    known = rows()
    return [case.name for case in cases if case.name not in known]


def write(passed, date):
    """Notes which replays passed, and makes the sums again."""
    answers = {case.name: case.id for case in passed}
    rewrite(lambda match: replayed(match["result"], answers.get(name(match))), date)


def rewrite(result, date):
    """Gives every row the result that `result` makes of it, dated if it is another, and sums up."""
    lines, areas = [], collections.defaultdict(collections.Counter)
    for line in DOCUMENT.read_text().splitlines():
        if match := ROW.match(line):
            new = result(match)
            areas[match["area"]].update(counted(new))
            if new != match["result"]:
                line = f"| {match['area']} | {match['test']} | {new} | {date} |"
        lines.append(line)
    DOCUMENT.write_text(summed("\n".join(lines) + "\n", areas))


def replayed(result, identity):
    """A result of which the replay `identity` passed."""
    if identity is None or f"`{identity}`" in result:
        return result
    *suites, own = split(result)
    kept = [] if "tests/conformance" in own else [own] if own else []
    return joined(suites, ", ".join([f"`{identity}`", *kept]))


def split(result):
    """What suites said, and last the tests of our own, or nothing."""
    parts = [part for part in result.split("; ") if part != "not run"]
    own = [part for part in parts if part.startswith(OWN)]
    return [part for part in parts if part not in own] + ["".join(own).removeprefix(OWN)]


def joined(suites, own):
    """The parts as one result, which is never empty."""
    return "; ".join([*suites, *([OWN + own] if own else [])]) or "not run"


def counted(result):
    """What a row adds to the sums."""
    parts = result.split("; ")
    said = {
        "passed": "passed" in parts,
        "failed": "failed" in parts,
        "own": any(part.startswith(OWN) for part in parts),
        "not run": result == "not run",
        "all": True,
    }
    return {what: int(so) for what, so in said.items()}


def summed(text, areas):
    """The sentence and the table of sums."""
    whole = sum(areas.values(), collections.Counter())
    sentence = (f"{whole['all']} tests: {whole['passed']} passed, {whole['failed']} failed, "
                f"{whole['own']} with an equivalent of our own, {whole['not run']} not run.")
    text = re.sub(r"^\d+ tests: .*$", lambda _: sentence, text, flags=re.M)
    none = [area for area, of in areas.items() if of["not run"] == of["all"]]
    table = [f"| {area} | {of['passed']} | {of['failed']} | {of['own']} | {of['all']} |"
             for area, of in sorted(areas.items()) if area not in none]
    if none:
        count = sum(areas[area]["all"] for area in none)
        table.append(f"| the other {len(none)} areas | 0 | 0 | 0 | {count} |")
    head = "| area | passed | failed | own equivalent | of |\n| --- | ---: | ---: | ---: | ---: |\n"
    return re.sub(re.escape(head) + r"(\|.*\n)*", lambda _: head + "\n".join(table) + "\n", text)
