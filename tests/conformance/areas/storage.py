"""Storage as objects: classes, drivers, capacities, attachments, volumes and claims."""

from api import MERGE_PATCH, STRATEGIC_PATCH
from harness import (
    condition, conformance, equal, names, newer, retry_conflict, unique,
    wait_count, wait_gone,
)
from operations import Walk, discovered

V1 = "storage.k8s.io/v1"


def label(resource, name, word):
    """A strategic patch that says `patched`, or an update that says `updated`, in a label."""
    if word == "patched":
        patch = {"metadata": {"labels": {name: word}}}
        changed = resource.patch(name, patch, STRATEGIC_PATCH)
    else:
        def once():
            found = resource.get(name)
            found["metadata"].setdefault("labels", {})[name] = word
            return resource.update(found)

        changed = retry_conflict(once)
    equal(changed["metadata"]["labels"][name], word)
    return changed


def class_lifecycle(t, resource, make):
    """The walk of StorageClass and VolumeAttributesClass: one deleted, its successor collected."""
    first = resource.create(make())
    name = first["metadata"]["name"]
    t.cleanup(resource.delete, name)
    equal(resource.get(name)["metadata"]["name"], name)
    newer(label(resource, name, "patched"), first)
    resource.delete(name)
    wait_gone(resource, name)
    second = resource.create(make())
    name = second["metadata"]["name"]
    t.cleanup(resource.delete, name)
    newer(label(resource, name, "updated"), second)
    wait_count(resource, 1, labelSelector=f"{name}=updated")
    resource.delete_collection(labelSelector=f"{name}=updated")
    wait_count(resource, 0, labelSelector=f"{name}=updated")


@conformance("[sig-storage] StorageClasses CSI Conformance should run through the lifecycle of a "
             "StorageClass [Conformance]")
def should_run_through_the_lifecycle_of_a_storageclass(t):
    class_lifecycle(t, t.cluster_api(V1, "storageclasses"), lambda: {
        "metadata": {"generateName": "e2e-", "labels": {"e2e": unique()}},
        "provisioner": "e2e-fake-provisioner",
        "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
    })


@conformance("[sig-storage] VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run "
             "through the lifecycle of a VolumeAttributesClass [Conformance]")
def should_run_through_the_lifecycle_of_a_volumeattributesclass(t):
    class_lifecycle(t, t.cluster_api(V1, "volumeattributesclasses"), lambda: {
        "metadata": {"generateName": "e2e-vac-"},
        "driverName": "e2e-fake-csi-driver",
        "parameters": {"foo": "bar"},
    })


@conformance("[sig-storage] CSIInlineVolumes should run through the lifecycle of a CSIDriver "
             "[Conformance]")
def should_run_through_the_lifecycle_of_a_csidriver(t):
    drivers = t.cluster_api(V1, "csidrivers")
    word = unique()
    made = []
    for number in (1, 2):
        body = {
            "metadata": {"name": f"inline-driver-{word}-{number}", "labels": {"test": word}},
            "spec": {"volumeLifecycleModes": ["Ephemeral"], "storageCapacity": False,
                     "requiresRepublish": False},
        }
        made.append(drivers.create(body)["metadata"]["name"])
        t.cleanup(drivers.delete, made[-1])
    label(drivers, made[1], "patched")
    label(drivers, made[1], "updated")
    wait_count(drivers, 2, labelSelector=f"test={word}")
    drivers.delete(made[0])
    wait_gone(drivers, made[0])
    drivers.delete_collection(labelSelector=f"{made[1]}=updated")
    wait_count(drivers, 0, labelSelector=f"test={word}")


@conformance("[sig-storage] CSIInlineVolumes should support CSIVolumeSource in Pod API "
             "[Conformance]")
def should_support_csivolumesource_in_pods(t):
    drivers, pods = t.cluster_api(V1, "csidrivers"), t.api("v1", "pods")
    driver = "e2e.example.com-" + unique()
    drivers.create({"metadata": {"name": driver}, "spec": {
        "attachRequired": False, "volumeLifecycleModes": ["Ephemeral"]}})
    t.cleanup(drivers.delete, driver)
    name = "pod-csi-inline-volumes"
    body = {"metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
        # It is not meant to run: no node has such a driver.
        "nodeSelector": {"e2e.example.com/nowhere": "true"},
        "containers": [{"name": "pod-csi-inline-volumes-container", "image": "busybox",
                        "volumeMounts": [{"name": name, "mountPath": "/mnt/e2e"}]}],
        "volumes": [{"name": name, "csi": {
            "driver": driver, "readOnly": True,
            "volumeAttributes": {"csi.storage.k8s.io/ephemeral": "true"}}}],
    }}
    created = pods.create(body)
    csi = created["spec"]["volumes"][0]["csi"]
    equal(pods.get(name)["spec"]["volumes"][0]["csi"], csi)
    listed = [p for p in pods.everywhere().list()["items"] if p["metadata"]["name"] == name]
    equal([p["spec"]["volumes"][0]["csi"] for p in listed], [csi])
    patched = pods.patch(name, {"metadata": {"labels": {"test": "patched"}}}, STRATEGIC_PATCH)
    newer(patched, created)
    pods.delete(name)
    wait_gone(pods, name)


@conformance("[sig-storage] CSINodes CSI Conformance should run through the lifecycle of a csinode "
             "[Conformance]")
def should_run_through_the_lifecycle_of_a_csinode(t):
    nodes = t.cluster_api(V1, "csinodes")

    def make():
        driver = {"name": f"e2e.driver-{unique()}", "nodeID": "e2e", "topologyKeys": None}
        name = f"e2e-csinode-{unique()}"
        t.cleanup(nodes.delete, name)
        return nodes.create({"metadata": {"name": name}, "spec": {"drivers": [driver]}})

    first = make()
    name = first["metadata"]["name"]
    equal(nodes.get(name)["metadata"]["name"], name)
    newer(label(nodes, name, "patched"), first)
    wait_count(nodes, 1, labelSelector=f"{name}=patched")
    nodes.delete(name)
    wait_gone(nodes, name)
    name = make()["metadata"]["name"]
    equal(nodes.get(name)["metadata"]["name"], name)
    label(nodes, name, "updated")
    nodes.delete_collection(labelSelector=f"{name}=updated")
    wait_count(nodes, 0, labelSelector=f"{name}=updated")


@conformance("[sig-storage] CSIStorageCapacity should support CSIStorageCapacities API operations "
             "[Conformance]")
def should_support_csistoragecapacities(t):
    discovered(t, "storage.k8s.io", "v1", "csistoragecapacities")
    word = unique()
    walk = Walk(t.api(V1, "csistoragecapacities"), lambda _: {
        "metadata": {"generateName": "e2e-capacity-", "labels": {"test": word}},
        "storageClassName": "e2e", "nodeTopology": {},
    }, labelSelector=f"test={word}")
    walk.create()
    walk.change(walk.read(), widely=True)
    walk.delete()


def attachment(t):
    name = "va-e2e-" + unique()
    attachments = t.cluster_api(V1, "volumeattachments")
    t.cleanup(attachments.delete, name)
    created = attachments.create({"metadata": {"name": name}, "spec": {
        "attacher": "e2e-test.example.com", "nodeName": "test-node-" + name,
        "source": {"persistentVolumeName": "pv-" + name},
    }})
    return attachments, created


@conformance("[sig-storage] VolumeAttachment Conformance should run through the lifecycle of a "
             "VolumeAttachment [Conformance]")
def should_run_through_the_lifecycle_of_a_volumeattachment(t):
    attachments, first = attachment(t)
    name = first["metadata"]["name"]
    equal(attachments.get(name)["metadata"]["name"], name)
    newer(label(attachments, name, "patched"), first)
    equal(names(attachments.list(labelSelector=f"{name}=patched")["items"]), [name])
    attachments.delete(name)
    wait_gone(attachments, name)
    group = unique()
    for _ in (2, 3):
        name = attachment(t)[1]["metadata"]["name"]

        def mark():
            found = attachments.get(name)
            found["metadata"]["labels"] = {"va-e2e": group}
            return attachments.update(found)

        equal(retry_conflict(mark)["metadata"]["labels"]["va-e2e"], group)
    wait_count(attachments, 2, labelSelector=f"va-e2e={group}")
    attachments.delete_collection(labelSelector=f"va-e2e={group}")
    wait_count(attachments, 0, labelSelector=f"va-e2e={group}")


@conformance("[sig-storage] VolumeAttachment Conformance should apply changes to a volumeattachment "
             "status [Conformance]")
def should_apply_changes_to_a_volumeattachment_status(t):
    attachments, first = attachment(t)
    name = first["metadata"]["name"]
    newer(label(attachments, name, "patched"), first)
    status = attachments.sub("status")
    equal(status.get(name)["status"]["attached"], False)
    patched = status.patch(name, {"status": {"attached": True}}, MERGE_PATCH)
    equal(patched["status"]["attached"], True)

    def detach():
        found = attachments.get(name)
        found["status"]["attached"] = False
        return status.update(found)

    updated = retry_conflict(detach)
    equal(updated["status"]["attached"], False)
    newer(updated, patched)
    attachments.delete(name)
    wait_gone(attachments, name)


def volume_and_claim(t, word):
    """A volume and a claim of a class of their own, as the suite pre-binds them."""
    labels = {"e2e-pv-pool": word}
    volumes, claims = t.cluster_api("v1", "persistentvolumes"), t.api("v1", "persistentvolumeclaims")
    volume = volumes.create({"metadata": {"generateName": "pv-", "labels": labels}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "persistentVolumeReclaimPolicy": "Retain", "storageClassName": word,
        "csi": {"driver": "e2e-driver.example.com", "volumeHandle": "e2e-" + word},
    }})
    t.cleanup(volumes.delete, volume["metadata"]["name"])
    claim = claims.create({"metadata": {"generateName": "pvc-", "labels": labels}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": word,
    }})
    return volumes, volume, claims, claim


def unbind(resource, name):
    """What nothing uses loses its finalizer by its controller; the suite gives it a minute."""
    resource.delete(name)
    wait_gone(resource, name, seconds=60)


@conformance("[sig-storage] PersistentVolumes CSI Conformance should run through the lifecycle of a "
             "PV and a PVC [Conformance]")
def should_run_through_the_lifecycle_of_a_pv_and_a_pvc(t):
    word = "e2e-" + unique()
    selector = {"labelSelector": f"e2e-pv-pool={word}"}
    volumes, volume, claims, claim = volume_and_claim(t, word)
    pv, pvc = volume["metadata"]["name"], claim["metadata"]["name"]
    equal(names(volumes.list(**selector)["items"]), [pv])
    equal(names(claims.list(**selector)["items"]), [pvc])
    label(volumes, pv, "patched")
    label(claims, pvc, "patched")
    equal(volumes.get(pv)["metadata"]["uid"], volume["metadata"]["uid"])
    equal(claims.get(pvc)["metadata"]["uid"], claim["metadata"]["uid"])
    unbind(claims, pvc)
    unbind(volumes, pv)

    volumes, volume, claims, claim = volume_and_claim(t, word)
    pv, pvc = volume["metadata"]["name"], claim["metadata"]["name"]
    label(volumes, pv, "updated")
    label(claims, pvc, "updated")
    equal(names(claims.everywhere().list(labelSelector=f"{pvc}=updated")["items"]), [pvc])
    claims.delete_collection(labelSelector=f"{pvc}=updated")
    wait_count(claims, 0, labelSelector=f"{pvc}=updated")
    volumes.delete_collection(labelSelector=f"{pv}=updated")
    wait_count(volumes, 0, labelSelector=f"{pv}=updated")


@conformance("[sig-storage] PersistentVolumes CSI Conformance should apply changes to a pv/pvc "
             "status [Conformance]")
def should_apply_changes_to_a_pv_and_pvc_status(t):
    word = "e2e-" + unique()
    volumes, volume, claims, claim = volume_and_claim(t, word)
    pv, pvc = volume["metadata"]["name"], claim["metadata"]["name"]
    equal(claims.sub("status").get(pvc)["metadata"]["name"], pvc)
    equal(volumes.sub("status").get(pv)["metadata"]["name"], pv)
    entry = {"type": "StatusPatched", "status": "True", "reason": "E2E patchStatus",
             "message": "Set from an e2e test"}
    patched = claims.sub("status").patch(pvc, {"status": {"conditions": [entry]}}, MERGE_PATCH)
    equal(condition(patched, "StatusPatched")["reason"], "E2E patchStatus")
    told = {"message": "StatusPatched", "reason": "E2E patchStatus"}
    patched = volumes.sub("status").patch(pv, {"status": told}, MERGE_PATCH)
    equal({key: patched["status"][key] for key in told}, told)

    def update_claim():
        found = claims.get(pvc)
        found["status"].setdefault("conditions", []).append(
            {**entry, "type": "StatusUpdated", "reason": "E2E updateStatus"})
        return claims.sub("status").update(found)

    equal(condition(retry_conflict(update_claim), "StatusUpdated")["reason"], "E2E updateStatus")

    def update_volume():
        found = volumes.get(pv)
        found["status"].update({"message": "StatusUpdated", "reason": "E2E updateStatus"})
        return volumes.sub("status").update(found)

    equal(retry_conflict(update_volume)["status"]["message"], "StatusUpdated")
    unbind(claims, pvc)
    unbind(volumes, pv)
