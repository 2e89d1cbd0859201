"""CronJobs through every verb."""

from harness import conformance, equal, newer, unique
from operations import Walk, discovered


def cron_job(word, schedule="0 1 1 * ?", **spec):
    container = {"name": "c", "image": "ferry.local/demo:v1"}
    return {
        "metadata": {"generateName": "e2e-example-cronjob-", "labels": {"special-label": word}},
        "spec": {
            "schedule": schedule,
            "concurrencyPolicy": "Allow",
            "jobTemplate": {"spec": {"parallelism": 1, "completions": 1, "template": {"spec": {
                "restartPolicy": "OnFailure", "containers": [container]}}}},
            **spec,
        },
    }


@conformance("[sig-apps] CronJob should support CronJob API operations [Conformance]")
def should_support_cronjob_operations(t):
    discovered(t, "batch", "v1", "cronjobs", "cronjobs/status")
    word = unique()
    walk = Walk(t.api("batch/v1", "cronjobs"), lambda _: cron_job(word),
                labelSelector=f"special-label={word}")
    walk.create()
    walk.change(walk.read(), widely=True)
    before = walk.resource.get(walk.name)
    when = "2026-11-28T00:00:00Z"
    status = walk.resource.sub("status")
    patched = walk.annotate(status, "patchedstatus", before, {"status": {"lastScheduleTime": when}})
    equal(patched["status"]["lastScheduleTime"], when)
    found = walk.resource.get(walk.name)
    found["status"]["lastScheduleTime"] = "2026-11-28T01:00:00Z"
    updated = status.update(found)
    equal(updated["status"]["lastScheduleTime"], "2026-11-28T01:00:00Z")
    newer(updated, patched)
    walk.get_sub("status", "CronJob")
    walk.delete()
