//! Ways to get more than one has, each of which must end in a refusal.

use serde_json::{Value, json};

use super::{RBAC, binding, role};
use crate::cluster;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gives_themselves_a_role() {
    let cluster = cluster::without_node().await;
    let everything = ["create", "update", "patch", "get"];
    let kinds = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"];
    cluster.allow("eve", &everything, "rbac.authorization.k8s.io", &kinds).await;
    let eve = cluster.caller("eve", &[]);
    let cluster_roles = format!("{RBAC}/clusterroles");
    // A role of her own making.
    let strong = role("ClusterRole", "strong", &["*"], "*", &["*"]);
    let words = "user \"eve\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}";
    eve.refused("POST", &cluster_roles, strong, 403, words).await;
    // A rule added to one that she may write.
    let weak = role("ClusterRole", "weak", &["get"], "rbac.authorization.k8s.io", &["roles"]);
    eve.must("POST", &cluster_roles, weak).await;
    let more = json!({"rules": [{"verbs": ["delete"], "apiGroups": [""], "resources": ["nodes"]}]});
    eve.refused("PATCH", &format!("{cluster_roles}/weak"), more, 403, "Resources:[\"nodes\"]")
        .await;
    // A role that gathers what others give.
    let mut gathering =
        role("ClusterRole", "gather", &["get"], "rbac.authorization.k8s.io", &["roles"]);
    gathering["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {}}]});
    let words = "must have cluster-admin privileges to use the aggregationRule";
    eve.refused("POST", &cluster_roles, gathering, 403, words).await;
    // The strongest one bound to herself, everywhere and in one namespace, new and by a change.
    let words = "is attempting to grant RBAC permissions not currently held";
    let bound = binding("ClusterRoleBinding", "mine", "cluster-admin", "eve");
    eve.refused("POST", &format!("{RBAC}/clusterrolebindings"), bound, 403, words).await;
    let here = format!("{RBAC}/namespaces/default/rolebindings");
    eve.refused("POST", &here, binding("RoleBinding", "mine", "cluster-admin", "eve"), 403, words)
        .await;
    let change = json!({"subjects": [{"kind": "User", "name": "eve",
        "apiGroup": "rbac.authorization.k8s.io"}]});
    let path = format!("{RBAC}/clusterrolebindings/cluster-admin");
    eve.refused("PATCH", &path, change, 403, words).await;
    // With `bind` for that one role she may; with `escalate` she may write any.
    cluster.allow("eve", &["bind"], "rbac.authorization.k8s.io", &["clusterroles"]).await;
    eve.must("POST", &here, binding("RoleBinding", "mine", "cluster-admin", "eve")).await;
    cluster.allow("eve", &["escalate"], "rbac.authorization.k8s.io", &["clusterroles"]).await;
    eve.must("POST", &cluster_roles, role("ClusterRole", "strong", &["*"], "*", &["*"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impersonation_takes_every_right_that_it_needs() {
    let cluster = cluster::without_node().await;
    cluster.allow("eve", &["impersonate"], "", &["users"]).await;
    cluster.allow("bob", &["list"], "", &["configmaps"]).await;
    let as_bob = || cluster.caller("eve", &[]).with("impersonate-user", "bob");
    as_bob().must("GET", MAPS, Value::Null).await;
    // Not with a group, a uid or an extra that she may not take on.
    let list = "impersonate-on:user-info:list";
    for (name, value) in [
        ("impersonate-group", "system:masters"),
        ("impersonate-uid", "1"),
        ("impersonate-extra-a%2fb", "c"),
    ] {
        as_bob().with(name, value).refused("GET", MAPS, Value::Null, 403, list).await;
    }
    let alone = cluster.caller("eve", &[]).with("impersonate-group", "system:masters");
    let words = "without impersonating a user name";
    alone.refused("GET", MAPS, Value::Null, 400, words).await;
    // The constrained way: to be it, and to do this as it.
    let auth_group = "authentication.k8s.io";
    cluster.allow("kim", &["impersonate:user-info"], auth_group, &["users", "groups"]).await;
    let kim = || cluster.caller("kim", &[]).with("impersonate-user", "bob");
    kim().refused("GET", MAPS, Value::Null, 403, list).await;
    cluster.allow("kim", &[list], "", &["configmaps"]).await;
    kim().must("GET", MAPS, Value::Null).await;
    kim()
        .refused(
            "POST",
            MAPS,
            json!({"metadata": {"name": "x"}}),
            403,
            "impersonate-on:user-info:create",
        )
        .await;
    let words = "impersonating the system:masters group is not allowed";
    kim()
        .with("impersonate-group", "system:masters")
        .refused("GET", MAPS, Value::Null, 403, words)
        .await;
    // Accounts and nodes are no ordinary users.
    cluster
        .caller("kim", &[])
        .with("impersonate-user", "system:serviceaccount:kube-system:generic-garbage-collector")
        .refused("GET", MAPS, Value::Null, 403, "impersonate-on:serviceaccount:list")
        .await;
}

/// A request for `CN=eve,O=system:masters`, made with openssl.
const MASTERS_REQUEST: &str = include_str!("masters.csr");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_neither_asked_for_nor_approved_by_just_anybody() {
    use base64::Engine;
    let cluster = cluster::without_node().await;
    let group = "certificates.k8s.io";
    let kinds = [
        "certificatesigningrequests",
        "certificatesigningrequests/approval",
        "certificatesigningrequests/status",
    ];
    cluster.allow("eve", &["create", "get", "update", "patch"], group, &kinds).await;
    let eve = cluster.caller("eve", &[]);
    let request = |name: &str, signer: &str| {
        let encoded = base64::engine::general_purpose::STANDARD.encode(MASTERS_REQUEST);
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {"request": encoded, "signerName": signer, "usages": ["client auth"]}})
    };
    let words = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
    let direct = request("direct", "kubernetes.io/kube-apiserver-client");
    eve.refused("POST", CSRS, direct, 403, words).await;
    let other = request("other", "example.com/signer");
    let made = eve.must("POST", CSRS, other).await;
    assert_eq!(made["spec"]["username"], "eve");
    let condition = |kind: &str| {
        json!({"status": {"conditions": [
        {"type": kind, "status": "True", "reason": "x", "message": "y"}]}})
    };
    let path = format!("{CSRS}/other");
    let words = "user not permitted to approve requests with signerName \"example.com/signer\"";
    eve.refused("PATCH", &format!("{path}/approval"), condition("Approved"), 403, words).await;
    let words = "user not permitted to sign requests with signerName \"example.com/signer\"";
    eve.refused("PATCH", &format!("{path}/status"), condition("Failed"), 403, words).await;
    cluster.allow("eve", &["approve"], group, &["signers"]).await;
    eve.must("PATCH", &format!("{path}/approval"), condition("Approved")).await;
}
