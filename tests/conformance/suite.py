"""Takes what the standard's own suite reported into docs/conformance.md.

    suite.py --version 1.20|1.36 --date DATE JUNIT.xml…

Only what passed is written. A test that has another name today is found by its words without the tags
and the group in front, or in `RENAMED`, and its row says under which name it passed.
"""

import argparse
import re
import xml.etree.ElementTree

import record

STANDARD = "1.36"

# Earlier words of a test's name, and the words of today, where both do the same steps.
RENAMED = {
    "Docker Containers should be able to override the image's default arguments (docker cmd)":
        "Containers should be able to override the image's default arguments (container cmd)",
    "Docker Containers should be able to override the image's default command (docker entrypoint)":
        "Containers should be able to override the image's default command (container entrypoint)",
    "Docker Containers should be able to override the image's default command and arguments":
        "Containers should be able to override the image's default command and arguments",
    "Docker Containers should use the image defaults if command and args are blank":
        "Containers should use the image defaults if command and args are blank",
    "Kubectl client Kubectl logs should be able to retrieve and filter logs":
        "Kubectl logs logs should be able to retrieve and filter logs",
    "Kubelet when scheduling a busybox Pod with hostAliases should write entries to /etc/hosts":
        "Kubelet when scheduling an agnhost Pod with hostAliases should write entries to /etc/hosts",
    "Services should provide secure master service":
        "API Server should provide secure master service",
    "Services should test the lifecycle of an Endpoint":
        "Endpoints should test the lifecycle of an Endpoint",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", required=True, choices=["1.20", STANDARD])
    parser.add_argument("--date", required=True)
    parser.add_argument("junit", nargs="+")
    options = parser.parse_args()

    names = [case for file in options.junit for case in passed(file)]
    today = by_words(record.rows())
    found = {today[words(case)]: case for case in names if words(case) in today}
    record.rewrite(lambda match: suited(match, found, options.version), options.date)
    for case in sorted(set(names) - set(found.values())):
        print(f"no such test today: {case}")
    print(f"{len(found)} passed")


def passed(file):
    """Names of what passed, by a report in JUnit's form."""
    for case in xml.etree.ElementTree.parse(file).iter("testcase"):
        if not any(child.tag in ("failure", "error", "skipped") for child in case):
            yield plain(case.get("name").removeprefix("[It] "))


def plain(name):
    return " ".join(name.split())


def words(name):
    # A row escapes its asterisks.
    bare = plain(re.sub(r"\[[^\]]*\]", " ", name.replace("\\*", "*"))).rstrip(".")
    return RENAMED.get(bare, bare).lower()


def by_words(names):
    """Names by their words, those left out that share them with another."""
    found = {}
    for name in names:
        found.setdefault(words(name), []).append(name)
    return {key: same[0] for key, same in found.items() if len(same) == 1}


def suited(match, found, version):
    """A row's result once its test passed in the suite of `version`."""
    name = record.name(match)
    if name not in found:
        return match["result"]
    said = "passed" if version == STANDARD else f"passed in {version}'s suite"
    if plain(name) != found[name]:
        said += f' as "{found[name]}"'.replace("[", "\\[").replace("*", "\\*")
    *suites, own = record.split(match["result"])
    kept = [part for part in suites if part.split(" as ")[0] != said.split(" as ")[0]]
    return record.joined(sorted([*kept, said]), own)


if __name__ == "__main__":
    main()
