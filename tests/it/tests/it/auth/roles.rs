//! Every verb as every default role: what the authorizer says of each, against what the table of
//! roles says when it is read in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use auth::{Attributes, Decision, NonResource, ResourceAttributes, Target, UserInfo};
use serde_json::Value;

use super::{RBAC, binding};
use crate::cluster::{self, Cluster};

const ROLES: &str = include_str!("../../../../../crates/auth/facts/rbac_roles.tsv");
const RESOURCES: &str = include_str!("../../../../../crates/resources/facts/resources.tsv");
const VERBS: [&str; 14] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "impersonate",
    "bind",
    "escalate",
    "approve",
    "sign",
    "proxy",
];
const PATHS: [&str; 10] = [
    "/healthz",
    "/healthz/etcd",
    "/livez",
    "/metrics",
    "/api",
    "/api/v1",
    "/version",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/logs",
];

/// A row of the table of roles.
#[derive(Clone)]
struct Row {
    groups: Vec<&'static str>,
    resources: Vec<&'static str>,
    names: Vec<&'static str>,
    urls: Vec<&'static str>,
    verbs: Vec<&'static str>,
}

/// The cluster roles with their rows; those that gather others with the others' rows.
fn table() -> BTreeMap<&'static str, Vec<Row>> {
    let list = |text: &'static str| -> Vec<&'static str> {
        text.split(',').filter(|one| !one.is_empty()).collect()
    };
    let mut roles: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut gathers: Vec<(&str, &str)> = Vec::new();
    for line in ROLES.lines().filter(|line| line.starts_with("ClusterRole\t")) {
        let cells: Vec<&'static str> = line.split('\t').collect();
        let [_, _, name, own, aggregation, groups, resources, names, urls, verbs] = cells[..]
        else {
            panic!("{line}");
        };
        labels.entry(name).or_default().extend(list(own));
        gathers.extend(list(aggregation).into_iter().map(|label| (name, label)));
        let rows = roles.entry(name).or_default();
        if !verbs.is_empty() {
            let groups =
                list(groups).into_iter().map(|one| if one == "core" { "" } else { one }).collect();
            rows.push(Row {
                groups,
                resources: list(resources),
                names: list(names),
                urls: list(urls),
                verbs: list(verbs),
            });
        }
    }
    // Three times: admin gathers edit, which gathers view.
    for _ in 0..3 {
        for (gatherer, label) in &gathers {
            let added: Vec<Row> = labels
                .iter()
                .filter(|(name, own)| *name != gatherer && own.contains(label))
                .flat_map(|(name, _)| roles[name].clone())
                .collect();
            roles.get_mut(gatherer).unwrap().extend(added);
        }
    }
    roles
}

fn has(list: &[&str], one: &str) -> bool {
    list.contains(&one) || list.contains(&"*")
}

fn expected(rows: &[Row], verb: &str, group: &str, full: &str) -> bool {
    let wildcard = full.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    rows.iter().any(|row| {
        row.urls.is_empty()
            && row.names.is_empty()
            && has(&row.verbs, verb)
            && has(&row.groups, group)
            && (has(&row.resources, full)
                || wildcard.as_deref().is_some_and(|wildcard| row.resources.contains(&wildcard)))
    })
}

fn expected_path(rows: &[Row], path: &str) -> bool {
    rows.iter().any(|row| {
        has(&row.verbs, "get")
            && row.urls.iter().any(|url| match url.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => *url == path,
            })
    })
}

/// Every resource and subresource of every group that is served.
fn resources() -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for line in RESOURCES.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (group, plural, subresources) = (cells[0], cells[2], cells[9]);
        all.insert((group.to_owned(), plural.to_owned()));
        for sub in subresources.split(' ').filter(|one| !one.is_empty()) {
            let sub = sub.split('(').next().unwrap_or_default();
            all.insert((group.to_owned(), format!("{plural}/{sub}")));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_default_role_allows_what_its_table_says_and_nothing_else() {
    let cluster = cluster::without_node().await;
    let table = table();
    assert!(table.len() > 60);
    let last = parking_lot::Mutex::new(Vec::new());
    for name in table.keys() {
        let bound =
            binding("ClusterRoleBinding", &format!("test:{name}"), name, &format!("as:{name}"));
        cluster.admin().must("POST", &format!("{RBAC}/clusterrolebindings"), bound).await;
    }
    // Bindings are seen in their order, and the roles that gather others are filled by and by.
    cluster.until_allowed("as:view", "list", "", "pods").await;
    cluster.until_allowed("as:admin", "create", "", "pods/eviction").await;
    let settled = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            let wrong = differences(&cluster, &table).await;
            if wrong.is_empty() {
                return;
            }
            *last.lock() = wrong;
        }
    });
    assert!(settled.await.is_ok(), "{:#?}", last.lock());
}

/// What the authorizer says otherwise than the table.
async fn differences(cluster: &Cluster, table: &BTreeMap<&'static str, Vec<Row>>) -> Vec<String> {
    let chain = cluster.authorization.chain();
    let (mut asked, mut allowed, mut wrong) = (0, 0, Vec::new());
    let resources = resources();
    assert!(resources.len() > 100, "{}", resources.len());
    for (name, rows) in table {
        let user = UserInfo { username: format!("as:{name}"), ..UserInfo::default() };
        for (group, full) in &resources {
            let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
            for verb in VERBS {
                let target = Target::Resource(ResourceAttributes {
                    verb: verb.to_owned(),
                    group: group.clone(),
                    resource: resource.to_owned(),
                    subresource: subresource.to_owned(),
                    namespace: "some".to_owned(),
                    ..ResourceAttributes::default()
                });
                let answer = chain.authorize(&Attributes { user: user.clone(), target }).await;
                let answer = matches!(answer, Decision::Allow(_));
                asked += 1;
                allowed += usize::from(answer);
                if answer != expected(rows, verb, group, full) {
                    wrong.push(format!("{name}: {verb} {full} in {group:?}: {answer}"));
                }
            }
        }
        for path in PATHS {
            let target =
                Target::NonResource(NonResource { verb: "get".into(), path: path.to_owned() });
            let answer = chain.authorize(&Attributes { user: user.clone(), target }).await;
            if matches!(answer, Decision::Allow(_)) != expected_path(rows, path) {
                wrong.push(format!("{name}: get {path}: {answer:?}"));
            }
        }
    }
    wrong.truncate(20);
    assert!(asked > 50_000 && allowed > 1_000, "{asked} {allowed}");
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_and_anybody_have_what_upstreams_defaults_give_them() {
    let cluster = cluster::without_node().await;
    let nobody = super::Caller { cluster: &cluster, user: None, headers: Vec::new() };
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        let (code, _) = nobody.ask("GET", path, Value::Null).await;
        assert!(code == 200 || code == 500, "{path}: {code}");
    }
    for path in
        ["/", "/api", "/apis", "/metrics", "/openapi/v3", "/openid/v1/jwks", "/healthz/ping"]
    {
        let (code, answer) = nobody.ask("GET", path, Value::Null).await;
        assert_eq!(code, 403, "{path}: {answer}");
    }
    let ann = cluster.caller("ann", &[]);
    ann.must("GET", "/api/v1", Value::Null).await;
    let review = serde_json::json!({"apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let told = ann.must("POST", path, review.clone()).await;
    assert_eq!(told["status"]["userInfo"]["username"], "ann");
    nobody
        .refused("POST", path, review, 403, "cannot create resource \"selfsubjectreviews\"")
        .await;
    ann.refused(
        "GET",
        "/api/v1/namespaces/default/pods",
        Value::Null,
        403,
        "pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
    )
    .await;
}
