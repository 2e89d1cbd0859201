#!/usr/bin/env python3
"""Replays conformance tests against a running cluster and says what came of each.

    run.py --kubeconfig FILE [--node] [--slow] [-k WORD] [--jobs N] [--record]

Tests that need a node or minutes run when asked for. `--record` writes what passed into
docs/conformance.md, with its date. Closes with `N passed, N failed`.
"""

import argparse
import concurrent.futures
import importlib
import pathlib
import re
import sys
import time
import traceback

import harness
import record
from api import ApiError, Connection

HERE = pathlib.Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--node", action="store_true", help="also those that need a node")
    parser.add_argument("--node-only", action="store_true", help="only those that need a node")
    parser.add_argument("--slow", action="store_true", help="also those that take minutes")
    parser.add_argument("-k", dest="word", default="", help="only those with this in id or name")
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--record", metavar="DATE", help="write passes into docs/conformance.md")
    options = parser.parse_args()

    for file in sorted((HERE / "areas").glob("*.py")):
        importlib.import_module(f"areas.{file.stem}")
    if strangers := record.unknown(harness.ALL):
        sys.exit(f"no such conformance tests: {strangers}")
    names = [case.name for case in harness.ALL]
    if twice := {name for name in names if names.count(name) > 1}:
        sys.exit(f"replayed twice: {twice}")
    wanted = [case for case in harness.ALL if chosen(case, options)]
    cluster = Connection(options.kubeconfig)
    results = run_all(cluster, wanted, options.jobs)

    passed = [case for case, failure in results if failure is None]
    failed = [(case, failure) for case, failure in results if failure is not None]
    for case, failure in failed:
        print(f"\n--- {case.id}\n{failure}")
    if options.record:
        record.write(passed, options.record)
    print(f"{len(passed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def chosen(case, options):
    if harness.NODE in case.needs and not (options.node or options.node_only):
        return False
    if harness.NODE not in case.needs and options.node_only:
        return False
    if harness.SLOW in case.needs and not options.slow:
        return False
    return options.word in case.id or options.word in case.name


def run_all(cluster, cases, jobs):
    """Those that share something of the whole cluster run alone, after the others."""
    together = [case for case in cases if harness.SERIAL not in case.needs]
    alone = [case for case in cases if harness.SERIAL in case.needs]
    results = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run_one, cluster, case) for case in together]
        for future in concurrent.futures.as_completed(futures):
            results.append(future.result())
    results.extend(run_one(cluster, case) for case in alone)
    return results


def run_one(cluster, case):
    test = harness.Test(cluster, re.sub("[^a-z0-9]+", "-", case.area.lower()))
    started = time.monotonic()
    failure = None
    try:
        case.function(test)
    except (AssertionError, ApiError, KeyError, IndexError, TypeError, OSError) as error:
        failure = shown(error)
    try:
        test.finish()
    except (AssertionError, ApiError, OSError) as error:
        failure = failure or f"cleaning up: {shown(error)}"
    word = "ok   " if failure is None else "FAIL "
    print(f"{word} {time.monotonic() - started:6.1f} s  {case.id}", flush=True)
    return case, failure


def shown(error):
    """Where in the test it failed, and on what."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/areas/" in f.filename]
    where = "".join(f"  {pathlib.Path(f.filename).name}:{f.lineno}: {f.line}\n" for f in frames)
    return f"{where}  {type(error).__name__}: {str(error)[:2000]}"


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.exit(main())
