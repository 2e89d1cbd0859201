"""Takes what the standard's own suite reported into docs/conformance.md.

    suite.py --date DATE JUNIT.xml…

The suite must be that of the version whose tests the document lists. A test that passed in any of the
reports has passed, one that failed in all that ran it has failed; what none ran stays as it was.
"""

import argparse
import xml.etree.ElementTree

import record

PASSED, FAILED = "passed", "failed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--date", required=True)
    parser.add_argument("junit", nargs="+")
    options = parser.parse_args()

    known = {plain(name): name for name in record.rows()}
    found = {}
    for name, result in (case for file in options.junit for case in cases(file)):
        if name in known:
            found[known[name]] = PASSED if PASSED in (result, found.get(known[name])) else FAILED
    record.rewrite(lambda match: suited(match, found), options.date)
    for name in sorted(name for name, result in found.items() if result == FAILED):
        print(f"failed: {name}")
    print(f"{sum(result == PASSED for result in found.values())} of {len(known)} passed")


def cases(file):
    """Names and results of what ran, by a report in JUnit's form."""
    for case in xml.etree.ElementTree.parse(file).iter("testcase"):
        tags = {child.tag for child in case}
        if "skipped" not in tags:
            name = plain(case.get("name").removeprefix("[It] "))
            yield name, FAILED if tags & {"failure", "error"} else PASSED


def plain(name):
    # A row escapes its asterisks.
    return " ".join(name.replace("\\*", "*").split())


def suited(match, found):
    """A row's result, once the suite has run its test."""
    said = found.get(record.name(match))
    if said is None:
        return match["result"]
    *_, own = record.split(match["result"])
    return record.joined([said], own)


if __name__ == "__main__":
    main()
