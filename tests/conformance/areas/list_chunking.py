"""Lists in pages: a snapshot over all pages, and how a client goes on once it is compacted."""

import concurrent.futures
import random
import time

from api import ApiError
from harness import SLOW, conformance, equal

TOTAL = 400
PREFIX = "[sig-api-machinery] Servers with support for API chunking "


def template(name):
    containers = [{"name": "test", "image": "test2"}]
    return {"metadata": {"name": name}, "template": {"spec": {"containers": containers}}}


def make_templates(t):
    templates = t.api("v1", "podtemplates")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        made = pool.map(lambda i: templates.create(template(f"template-{i:04}")), range(TOTAL))
        equal(len(list(made)), TOTAL)
    return templates


def check_page(page, found):
    """What every page must hold, given how many came before it; gives the new count."""
    remaining = page["metadata"].get("remainingItemCount")
    if page["metadata"].get("continue"):
        equal(remaining + len(page["items"]) + found, TOTAL, "remainingItemCount")
    else:
        equal(remaining, None, "remainingItemCount of the last page")
    for item in page["items"]:
        equal(item["metadata"]["name"], f"template-{found:04}")
        found += 1
    return found


@conformance(PREFIX + "should return chunks of results for list calls [Conformance]")
def should_return_chunks_of_results(t):
    templates = make_templates(t)
    for _ in range(3):
        found, token, version = 0, None, None
        while True:
            limit = random.randint(1, TOTAL // 10)
            page = templates.list(**{"limit": limit, "continue": token})
            assert len(page["items"]) <= limit
            version = version or page["metadata"]["resourceVersion"]
            equal(page["metadata"]["resourceVersion"], version, "the pages' resourceVersion")
            found = check_page(page, found)
            token = page["metadata"].get("continue")
            if not token:
                break
        equal(found, TOTAL)
    equal(len(templates.list(limit=TOTAL + 1)["items"]), TOTAL)


@conformance(PREFIX + "should support continue listing from the last key if the original version "
             "has been compacted away, though the list is inconsistent [Slow] [Conformance]", SLOW)
def should_continue_after_compaction(t):
    templates = make_templates(t)
    limit = TOTAL // 10
    first = templates.list(limit=limit)
    found = check_page(first, 0)
    error = wait_expired(templates, limit, first["metadata"]["continue"])
    equal(error.reason, "Expired")
    token = error.status["metadata"]["continue"]
    assert token, "the Status carries a token to go on with"
    page = templates.list(**{"limit": limit, "continue": token})
    version = page["metadata"]["resourceVersion"]
    assert version != first["metadata"]["resourceVersion"], "a newer snapshot"
    equal(len(page["items"]), limit)
    found = check_page(page, found)
    while page["metadata"].get("continue"):
        page = templates.list(**{"limit": limit, "continue": page["metadata"]["continue"]})
        equal(page["metadata"]["resourceVersion"], version)
        found = check_page(page, found)
    equal(found, TOTAL)


def wait_expired(templates, limit, token):
    """Asks for the second page until it is refused: twice the suite's compaction interval."""
    for _ in range(30):
        try:
            templates.list(**{"limit": limit, "continue": token})
        except ApiError as error:
            equal(error.code, 410)
            return error
        time.sleep(20)
    raise AssertionError("the token did not expire within ten minutes")
