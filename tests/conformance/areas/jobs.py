"""Jobs on a real node."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    NODE, SHELL, condition, conformance, equal, newer, retry_conflict, unique, wait_count,
    wait_for, wait_gone,
)

PREFIX = "[sig-apps] Job "
INDEX = "batch.kubernetes.io/job-completion-index"


def jobs(t):
    return t.api("batch/v1", "jobs")


def job(name, script, completions=4, parallelism=2, restart="Never", pod=None, **spec):
    container = {"name": "c", "image": SHELL, "command": ["/bin/sh", "-c", script]}
    return {"metadata": {"name": name}, "spec": {
        "parallelism": parallelism, "completions": completions, "backoffLimit": 6,
        "template": {"spec": {
            "restartPolicy": restart, "terminationGracePeriodSeconds": 0,
            "containers": [container], **(pod or {})}},
        **spec,
    }}


def indexed(name, script, **more):
    return job(name, script, completionMode="Indexed", **more)


def pods_of(t, name):
    return t.api("v1", "pods").list(labelSelector=f"batch.kubernetes.io/job-name={name}")["items"]


def ended(t, name, kind, seconds=180):
    """Waits until a Job has this condition; gives the Job."""

    def reached():
        found = jobs(t).get(name)
        return condition(found, kind).get("status") == "True" and found

    return wait_for(f"{name} is {kind}", reached, seconds)


def active(t, name, count):
    def reached():
        found = [p for p in pods_of(t, name) if p["status"].get("phase") in ("Pending", "Running")
                 and "deletionTimestamp" not in p["metadata"]]
        return len(found) == count and found

    return wait_for(f"{name} has {count} active pods", reached, seconds=120)


@conformance(PREFIX + "should run a job to completion when tasks sometimes fail and are locally "
             "restarted [Conformance]", NODE)
def should_complete_when_tasks_fail_once(t):
    # Fails the first time, by a file that outlives the container.
    script = "if [ -e /data/once ]; then exit 0; else touch /data/once; exit 1; fi"
    volume = {"volumes": [{"name": "data", "emptyDir": {}}]}
    body = job("fail-once-local", script, restart="OnFailure", pod=volume)
    body["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "data", "mountPath": "/data"}]
    jobs(t).create(body)
    ended(t, "fail-once-local", "Complete")
    succeeded = [p for p in pods_of(t, "fail-once-local") if p["status"]["phase"] == "Succeeded"]
    equal(len(succeeded), 4)


@conformance(PREFIX + "should create pods for an Indexed job with completion indexes and specified "
             "hostname [Conformance]", NODE)
def should_create_indexed_pods(t):
    jobs(t).create(indexed("indexed-job", "exit 0"))
    ended(t, "indexed-job", "Complete")
    found = pods_of(t, "indexed-job")
    indexes = sorted(p["metadata"]["annotations"][INDEX] for p in found
                     if p["status"]["phase"] == "Succeeded")
    equal(indexes, ["0", "1", "2", "3"])
    for pod in found:
        index = pod["metadata"]["annotations"][INDEX]
        equal(pod["spec"]["hostname"], f"indexed-job-{index}")
        equal(pod["metadata"]["labels"][INDEX], index)


def success_policy(t, script, rules, indexes, completions=5, parallelism=None):
    """Runs an indexed Job with these rules; gives it as it is when complete."""
    name = "with-success-policy"
    jobs(t).create(indexed(name, script, completions=completions,
                           parallelism=parallelism or completions,
                           successPolicy={"rules": rules}))
    met = ended(t, name, "SuccessCriteriaMet")
    equal(condition(met, "SuccessCriteriaMet")["reason"], "SuccessPolicy")
    done = ended(t, name, "Complete")
    equal(condition(done, "Complete")["reason"], "SuccessPolicy")
    equal(done["status"]["completedIndexes"], indexes)
    status = done["status"]
    equal([status.get(key, 0) for key in ("active", "ready", "terminating")], [0, 0, 0])


@conformance(PREFIX + "with successPolicy should succeeded when all indexes succeeded "
             "[Conformance]", NODE)
def should_succeed_when_all_indexes_did(t):
    success_policy(t, "exit 0", [{"succeededIndexes": "0-1"}], "0,1", completions=2)


@conformance(PREFIX + "with successPolicy succeededIndexes rule should succeeded even when some "
             "indexes remain pending [Conformance]", NODE)
def should_succeed_by_indexes(t):
    script = '[ "$JOB_COMPLETION_INDEX" = 0 ] || sleep 1000'
    success_policy(t, script, [{"succeededIndexes": "0"}], "0")


@conformance(PREFIX + "with successPolicy succeededCount rule should succeeded even when some "
             "indexes remain pending [Conformance]", NODE)
def should_succeed_by_count(t):
    script = '[ "$JOB_COMPLETION_INDEX" = 0 ] || sleep 1000'
    success_policy(t, script, [{"succeededCount": 1}], "0")


@conformance(PREFIX + "should execute all indexes despite some failing when using "
             "backoffLimitPerIndex [Conformance]", NODE)
def should_execute_all_indexes_despite_failures(t):
    name = "with-backoff-limit-per-index"
    body = indexed(name, "exit $((JOB_COMPLETION_INDEX % 2))", backoffLimitPerIndex=1)
    body["spec"].pop("backoffLimit")
    jobs(t).create(body)
    done = ended(t, name, "Failed")
    equal(condition(done, "Failed")["reason"], "FailedIndexes")
    status = done["status"]
    equal((status["failedIndexes"], status["completedIndexes"]), ("1,3", "0,2"))
    equal((status["failed"], status["succeeded"]), (4, 2))


@conformance(PREFIX + "should terminate job execution when the number of failed indexes exceeds "
             "maxFailedIndexes [Conformance]", NODE)
def should_terminate_beyond_max_failed_indexes(t):
    name = "with-max-failed-indexes"
    body = indexed(name, '[ "$JOB_COMPLETION_INDEX" = 0 ] && exit 1; sleep 1000', parallelism=4,
                   backoffLimitPerIndex=0, maxFailedIndexes=0)
    body["spec"].pop("backoffLimit")
    jobs(t).create(body)
    done = ended(t, name, "Failed")
    equal(condition(done, "Failed")["reason"], "MaxFailedIndexesExceeded")
    equal(done["status"]["failedIndexes"], "0")
    equal(done["status"].get("completedIndexes", ""), "")


@conformance(PREFIX + "should mark indexes as failed when the FailIndex action is matched in "
             "podFailurePolicy [Conformance]", NODE)
def should_fail_an_index_by_policy(t):
    name = "matching-fail-index-action"
    body = indexed(name, '[ "$JOB_COMPLETION_INDEX" = 0 ] && exit 42; exit 0', completions=2,
                   backoffLimitPerIndex=1, podFailurePolicy={"rules": [{
                       "action": "FailIndex",
                       "onExitCodes": {"operator": "In", "values": [42]}}]})
    body["spec"].pop("backoffLimit")
    jobs(t).create(body)
    done = ended(t, name, "Failed")
    equal(condition(done, "Failed")["reason"], "FailedIndexes")
    equal((done["status"]["failedIndexes"], done["status"]["completedIndexes"]), ("0", "1"))
    equal((done["status"]["failed"], done["status"]["succeeded"]), (1, 1))


@conformance(PREFIX + "should allow to use the pod failure policy on exit code to fail the job early "
             "[Conformance]", NODE)
def should_fail_early_by_exit_code(t):
    name = "pod-failure-failjob"
    jobs(t).create(job(name, "exit 1", podFailurePolicy={"rules": [{
        "action": "FailJob",
        "onExitCodes": {"containerName": "c", "operator": "In", "values": [1]}}]}))
    done = ended(t, name, "Failed")
    equal(condition(done, "Failed")["reason"], "PodFailurePolicy")


@conformance(PREFIX + "should allow to use a pod failure policy to ignore failure matching on "
             "DisruptionTarget condition [Conformance]", NODE)
def should_ignore_disruptions(t):
    name = "pod-disruption-ignore"
    # Ends well once it is a pod's second life: the first is evicted.
    body = job(name, "trap 'exit 1' TERM; if [ $FIRST = yes ]; then sleep 1000 & wait; fi; exit 0",
               completions=1, parallelism=1, backoffLimit=0, podFailurePolicy={"rules": [{
                   "action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]})
    container = body["spec"]["template"]["spec"]["containers"][0]
    maps = t.api("v1", "configmaps")
    maps.create({"metadata": {"name": "life"}, "data": {"first": "yes"}})
    container["env"] = [{"name": "FIRST", "valueFrom": {
        "configMapKeyRef": {"name": "life", "key": "first"}}}]
    jobs(t).create(body)
    pod = wait_for("the pod runs", lambda: [
        p for p in pods_of(t, name) if p["status"].get("phase") == "Running"])[0]["metadata"]["name"]
    maps.patch("life", {"data": {"first": "no"}}, MERGE_PATCH)
    t.api("v1", "pods").sub("eviction").create(
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}, name=pod)
    ended(t, name, "Complete")


@conformance(PREFIX + "should delete a job [Conformance]", NODE)
def should_delete_a_job(t):
    jobs(t).create(job("foo", "sleep 1000"))
    active(t, "foo", 2)
    jobs(t).delete("foo", propagationPolicy="Foreground")
    wait_gone(jobs(t), "foo", seconds=120)
    wait_count(t.api("v1", "pods"), 0)


@conformance(PREFIX + "should adopt matching orphans and release non-matching pods [Conformance]",
             NODE)
def should_adopt_and_release(t):
    name = "adopt-release"
    created = jobs(t).create(job(name, "sleep 1000"))
    pod = active(t, name, 2)[0]["metadata"]["name"]
    pods = t.api("v1", "pods")

    def owner():
        owners = pods.get(pod)["metadata"].get("ownerReferences", [])
        return next((o["uid"] for o in owners if o.get("controller")), None)

    pods.patch(pod, {"metadata": {"ownerReferences": None}}, MERGE_PATCH)
    wait_for("the orphan is adopted", lambda: owner() == created["metadata"]["uid"])
    labels = dict.fromkeys(pods.get(pod)["metadata"]["labels"])
    pods.patch(pod, {"metadata": {"labels": labels}}, MERGE_PATCH)
    wait_for("the stranger is released", lambda: owner() is None)


@conformance(PREFIX + "should apply changes to a job status [Conformance]", NODE)
def should_apply_changes_to_the_status(t):
    name = "e2e-" + unique(5)
    jobs(t).create(job(name, "sleep 1000", completions=1, parallelism=1))
    active(t, name, 1)
    status = jobs(t).sub("status")
    read = status.get(name)
    entry = {"type": "CustomConditionType", "status": "True", "reason": "E2E",
             "lastProbeTime": "2026-11-28T00:00:00Z", "lastTransitionTime": "2026-11-28T00:00:00Z"}
    patched = status.patch(name, {
        "metadata": {"annotations": {"patchedstatus": "true"}},
        "status": {"conditions": [entry]},
    }, MERGE_PATCH)
    newer(patched, read)
    equal(patched["metadata"]["annotations"]["patchedstatus"], "true")
    equal(condition(patched, "CustomConditionType")["reason"], "E2E")

    def update():
        found = jobs(t).get(name)
        found["status"]["conditions"] = [{**entry, "reason": "E2E-updated"}]
        return status.update(found)

    updated = retry_conflict(update)
    newer(updated, patched)
    equal(condition(updated, "CustomConditionType")["reason"], "E2E-updated")
    equal(status.get(name)["metadata"]["uid"], read["metadata"]["uid"])


@conformance(PREFIX + "should manage the lifecycle of a job [Conformance]", NODE)
def should_manage_the_lifecycle(t):
    name = "e2e-" + unique(5)
    label = {"e2e-job-label": name}
    selector = {"labelSelector": f"e2e-job-label={name}"}
    body = job(name, "exit 0", completions=1, parallelism=1, suspend=True)
    body["metadata"]["labels"] = label
    created = jobs(t).create(body)
    patch = {"metadata": {"labels": {name: "patched"}}}
    patched = jobs(t).patch(name, patch, STRATEGIC_PATCH)
    equal(patched["metadata"]["labels"][name], "patched")
    newer(patched, created)
    with jobs(t).watch(resourceVersion=patched["metadata"]["resourceVersion"], **selector) as watch:
        def resume():
            found = jobs(t).get(name)
            found["spec"]["suspend"] = False
            found["metadata"].setdefault("annotations", {})["updated"] = "true"
            return jobs(t).update(found)

        retry_conflict(resume)
        watch.until(lambda e: e.object["metadata"].get("annotations", {}).get("updated") == "true"
                    and e.object["spec"]["suspend"] is False, 60, "it is resumed")
        equal(len(jobs(t).everywhere().list(**selector)["items"]), 1)
        ended(t, name, "Complete")
        jobs(t).delete_collection(propagationPolicy="Background", **selector)
        watch.until_type("DELETED", name)
    equal(jobs(t).list(**selector)["items"], [])
