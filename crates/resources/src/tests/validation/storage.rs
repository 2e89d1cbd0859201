//! Volumes, claims, classes and what drivers say of themselves.

use serde_json::json;

use super::*;

#[test]
fn volumes() {
    create(
        "",
        "persistentvolumes",
        json!({"spec": {"capacity": {"storage": "1"}, "hostPath": {"path": "/x"}}}),
        "spec.accessModes: Required value: at least 1 access mode is required",
    );
    create(
        "",
        "persistentvolumes",
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}),
        "spec.capacity: Required value",
    );
    create(
        "",
        "persistentvolumes",
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}}}),
        "spec: Required value: must specify a volume type",
    );
    create(
        "",
        "persistentvolumes",
        json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"], "capacity": {"storage": "1"}, "hostPath": {"path": "/x"}}}),
        "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
    );
    let volume = |path: &str| json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}, "hostPath": {"path": path}}});
    update(
        "",
        "persistentvolumes",
        None,
        volume("/a"),
        volume("/b"),
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
    );
    let claim = |size: &str, class: &str, phase: &str| {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "resources": {"requests": {"storage": size}}}, "status": {"phase": phase}})
    };
    create(
        "",
        "persistentvolumeclaims",
        json!({"spec": {"accessModes": ["ReadWriteOnce"]}}),
        "spec.resources[storage]: Required value",
    );
    update(
        "",
        "persistentvolumeclaims",
        None,
        claim("1Gi", "a", "Bound"),
        claim("1Gi", "b", "Bound"),
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
    );
    update(
        "",
        "persistentvolumeclaims",
        None,
        claim("1Gi", "a", "Bound"),
        claim("2Gi", "a", "Bound"),
        "",
    );
    update(
        "",
        "persistentvolumeclaims",
        None,
        claim("1Gi", "a", "Pending"),
        claim("2Gi", "a", "Pending"),
        "spec: Forbidden: spec is immutable",
    );
    update(
        "",
        "persistentvolumeclaims",
        None,
        claim("2Gi", "a", "Bound"),
        claim("1Gi", "a", "Bound"),
        "spec.resources.requests[storage]: Forbidden: field can not be less than status.capacity",
    );
    const STORAGE: &str = "storage.k8s.io";
    create(STORAGE, "storageclasses", json!({}), "provisioner: Required value");
    update(
        STORAGE,
        "storageclasses",
        None,
        json!({"provisioner": "a", "parameters": {"a": "b"}}),
        json!({"provisioner": "a"}),
        "parameters: Forbidden: updates to parameters are forbidden.",
    );
    update(
        STORAGE,
        "csidrivers",
        None,
        json!({"spec": {"attachRequired": true}}),
        json!({"spec": {"attachRequired": false}}),
        "spec.attachRequired: Invalid value: false: field is immutable",
    );
    create(
        STORAGE,
        "volumeattachments",
        json!({"spec": {"attacher": "a", "nodeName": "n"}}),
        "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
    );
    create(STORAGE, "csistoragecapacities", json!({}), "storageClassName: Required value");
}

#[test]
fn volumes_of_the_cluster() {
    let good = json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/a"}}});
    rows(
        "",
        "persistentvolumes",
        &good,
        &[
            (json!({"spec": {"accessModes": ["X"]}}), "spec.accessModes: Unsupported value: \"X\""),
            (
                json!({"spec": {"capacity": {"storage": "0"}}}),
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (json!({"spec": {"capacity": {"cpu": "1"}}}), "spec.capacity: Unsupported value"),
            (
                json!({"spec": {"nfs": {"server": "s", "path": "/p"}}}),
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ),
            (
                json!({"spec": {"persistentVolumeReclaimPolicy": "X"}}),
                "spec.persistentVolumeReclaimPolicy: Unsupported value: \"X\"",
            ),
            (
                json!({"spec": {"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}}),
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ),
            (json!({"spec": {"volumeMode": "X"}}), "spec.volumeMode: Unsupported value: \"X\""),
            (
                json!({"spec": {"storageClassName": "A_b"}}),
                "spec.storageClassName: Invalid value: \"A_b\"",
            ),
            (
                json!({"spec": {"hostPath": null, "local": {"path": "/x"}}}),
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ),
            (
                json!({"spec": {"hostPath": null, "csi": {"driver": "d"}}}),
                "spec.csi.volumeHandle: Required value",
            ),
        ],
    );
    changes(
        "",
        "persistentvolumes",
        None,
        &good,
        &[(
            json!({"spec": {"volumeMode": "Block"}}),
            "spec.volumeMode: Invalid value: \"Block\": field is immutable",
        )],
    );
}

#[test]
fn claims() {
    rows(
        "",
        "persistentvolumeclaims",
        &json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        &[
            (
                json!({"spec": {"accessModes": []}}),
                "spec.accessModes: Required value: at least 1 access mode is required",
            ),
            (json!({"spec": {"accessModes": ["X"]}}), "spec.accessModes: Unsupported value: \"X\""),
            (
                json!({"spec": {"resources": {"requests": {"storage": "0"}}}}),
                "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                json!({"spec": {"storageClassName": "A_b"}}),
                "spec.storageClassName: Invalid value: \"A_b\"",
            ),
            (json!({"spec": {"volumeMode": "X"}}), "spec.volumeMode: Unsupported value: \"X\""),
            (
                json!({"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": ""}}}),
                "spec.dataSource.name: Required value",
            ),
            (
                json!({"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"},
                    "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"}}}),
                "spec: Invalid value",
            ),
        ],
    );
}

#[test]
fn classes_and_drivers() {
    const STORAGE: &str = "storage.k8s.io";
    changes(
        STORAGE,
        "storageclasses",
        None,
        &json!({"provisioner": "a.b/c"}),
        &[
            (
                json!({"provisioner": "d.e/f"}),
                "provisioner: Forbidden: updates to provisioner are forbidden.",
            ),
            (
                json!({"reclaimPolicy": "Retain"}),
                "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
            ),
            (
                json!({"volumeBindingMode": "WaitForFirstConsumer"}),
                "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
            ),
            (json!({"allowVolumeExpansion": true}), ""),
        ],
    );
    rows(
        STORAGE,
        "storageclasses",
        &json!({"provisioner": "a.b/c"}),
        &[
            (json!({"reclaimPolicy": "X"}), "reclaimPolicy: Unsupported value: \"X\""),
            (
                json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "k", "values": ["v", "v"]}]}]}),
                "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"v\"",
            ),
            (json!({"volumeBindingMode": "X"}), "volumeBindingMode: Unsupported value: \"X\""),
        ],
    );
    changes(
        STORAGE,
        "volumeattributesclasses",
        None,
        &json!({"driverName": "d", "parameters": {"a": "b"}}),
        &[
            (
                json!({"driverName": "e"}),
                "driverName: Forbidden: updates to driverName are forbidden.",
            ),
            (
                json!({"parameters": {"a": "c"}}),
                "parameters: Forbidden: updates to parameters are forbidden.",
            ),
        ],
    );
    rows(
        STORAGE,
        "csinodes",
        &json!({"spec": {"drivers": [{"name": "d", "nodeID": "n"}]}}),
        &[
            (
                json!({"spec": {"drivers": [{"name": "d", "nodeID": "n"}, {"name": "d", "nodeID": "n"}]}}),
                "spec.drivers[1].name: Duplicate value: \"d\"",
            ),
            (
                json!({"spec": {"drivers": [{"name": "d", "nodeID": ""}]}}),
                "spec.drivers[0].nodeID: Required value",
            ),
        ],
    );
    changes(
        STORAGE,
        "volumeattachments",
        None,
        &json!({"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}),
        &[(json!({"spec": {"nodeName": "m"}}), "spec: Invalid value")],
    );
    changes(
        STORAGE,
        "csistoragecapacities",
        None,
        &json!({"storageClassName": "s"}),
        &[(
            json!({"storageClassName": "t"}),
            "storageClassName: Invalid value: \"t\": field is immutable",
        )],
    );
}
