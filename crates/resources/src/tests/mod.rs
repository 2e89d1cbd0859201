//! Tests over the list of kinds: everything of the table is there, with the right names, columns
//! and subresources; defaults are idempotent; keys are unique.

mod cells;
mod defaults;
mod validation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::Value;
use api::status::{ApiError, ApiResult};
use apiserver::authn::{Authenticator, Credentials};
use apiserver::authz::{Authorizer, PolicySource};
use apiserver::resource::{
    HttpRequest, HttpResponse, Resource, SubresourceBehaviour, WriteContext,
};
use async_trait::async_trait;
use auth::rbac::{Objects, Policy};
use auth::token::{TokenAuthority, generate_key};
use auth::{Attributes, Decision, UserInfo};
use base::rng::SharedRng;
use serde_json::json;

use crate::deps::{Deps, NodeTransport, Target};
use crate::{all, facts};

struct Nothing;

#[async_trait]
impl NodeTransport for Nothing {
    async fn send(&self, _target: &Target, _request: HttpRequest) -> ApiResult<HttpResponse> {
        Err(ApiError::unavailable("no nodes in this test"))
    }
}

#[async_trait]
impl Authenticator for Nothing {
    async fn authenticate(&self, _credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        Ok(None)
    }
}

#[async_trait]
impl Authorizer for Nothing {
    async fn authorize(&self, _attributes: &Attributes) -> Decision {
        Decision::NoOpinion(String::new())
    }
}

impl PolicySource for Nothing {
    fn policy(&self) -> Arc<Policy> {
        Arc::new(Policy::new(&Objects::default()))
    }
}

pub(crate) fn deps() -> Deps {
    let key = generate_key().unwrap();
    Deps {
        clock: base::clock::system(),
        rng: SharedRng::seeded(1),
        service_networks: vec!["10.96.0.0/12".parse().unwrap()],
        node_ports: 30_000..=32_767,
        nodes: Arc::new(Nothing),
        tokens: Arc::new(TokenAuthority::new("https://x", &["https://x"], &key, &[]).unwrap()),
        authenticator: Arc::new(Nothing),
        authorizer: Arc::new(Nothing),
        policy: Arc::new(Nothing),
    }
}

fn find(kinds: &[Arc<dyn Resource>], group: &str, plural: &str) -> Arc<dyn Resource> {
    let found =
        kinds.iter().find(|kind| kind.info().group == group && kind.info().plural == plural);
    Arc::clone(found.unwrap_or_else(|| panic!("{plural}.{group} is not in the list")))
}

#[test]
fn every_row_of_the_table_is_served() {
    let kinds = all(&deps());
    for row in facts::resources() {
        let kind = find(&kinds, row.group, row.plural);
        let info = kind.info();
        assert!(info.versions.iter().any(|version| version.name == row.version), "{info:?}");
        assert_eq!(info.kind, row.kind);
        assert_eq!(info.singular, row.singular);
        assert_eq!(info.short_names, row.short_names);
        assert_eq!(info.categories, row.categories);
        assert_eq!(info.storage_version_hash, row.hash);
        let verbs: Vec<_> = info.verbs.iter().map(AsRef::as_ref).collect();
        assert_eq!(verbs, row.verbs);
        let served: BTreeMap<_, _> = kind
            .subresources()
            .into_iter()
            .map(|one| (one.name.to_string(), one.verbs.len()))
            .collect();
        let wanted: BTreeMap<_, _> =
            row.subresources.iter().map(|one| (one.name.to_owned(), one.verbs.len())).collect();
        assert_eq!(served, wanted, "{}", row.plural);
        let schema = kind.schema(row.version).unwrap();
        assert!(api::schema::by_name(schema).is_some(), "no schema {schema}");
    }
    let listed: BTreeSet<_> = facts::resources().map(|row| (row.group, row.plural)).collect();
    for kind in &kinds {
        let info = kind.info();
        let hidden = matches!(&*info.plural, "rangeallocations" | "podsecuritypolicies");
        assert!(
            hidden || listed.contains(&(info.group.as_ref(), info.plural.as_ref())),
            "{info:?}"
        );
    }
}

#[test]
fn every_subresource_has_somebody_who_does_it() {
    const VIEWS: [&str; 5] = ["status", "ephemeralcontainers", "resize", "approval", "finalize"];
    for kind in all(&deps()) {
        for one in kind.subresources() {
            let view = matches!(one.behaviour, SubresourceBehaviour::View);
            let is_view = VIEWS.contains(&one.name.as_ref());
            assert_eq!(view, is_view, "{}/{}", kind.info().plural, one.name);
        }
    }
}

#[test]
fn keys_are_unique_but_for_events() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for kind in all(&deps()) {
        *seen.entry(kind.info().key_prefix.to_string()).or_default() += 1;
    }
    let shared: Vec<_> = seen.into_iter().filter(|(_, count)| *count > 1).collect();
    assert_eq!(shared, [("/registry/events".to_owned(), 2)]);
}

#[test]
fn keys_are_upstreams() {
    let kinds = all(&deps());
    for (group, plural, expected) in [
        ("", "pods", "/registry/pods"),
        ("", "nodes", "/registry/minions"),
        ("", "services", "/registry/services/specs"),
        ("", "endpoints", "/registry/services/endpoints"),
        ("", "replicationcontrollers", "/registry/controllers"),
        ("networking.k8s.io", "ingresses", "/registry/ingress"),
        ("apps", "deployments", "/registry/deployments"),
        ("coordination.k8s.io", "leases", "/registry/leases"),
        ("apiregistration.k8s.io", "apiservices", "/registry/apiregistration.k8s.io/apiservices"),
        (
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "/registry/apiextensions.k8s.io/customresourcedefinitions",
        ),
    ] {
        assert_eq!(find(&kinds, group, plural).info().key_prefix, expected);
    }
}

/// A bare object of a kind, as decoding leaves it.
fn bare(kind: &Arc<dyn Resource>) -> Value {
    let info = kind.info();
    json!({
        "apiVersion": info.api_version(crate::old::current_version(info)),
        "kind": info.kind,
        "metadata": {"name": "a", "namespace": "b", "creationTimestamp": "2026-01-01T00:00:00Z"},
    })
}

#[test]
fn rows_have_a_cell_for_every_column() {
    let now = "2026-01-02T00:00:00Z".parse().unwrap();
    for kind in all(&deps()) {
        let mut object = bare(&kind);
        for stage in ["bare", "defaulted"] {
            let (cells, columns) = (kind.row(&object, now).cells.len(), kind.columns().len());
            assert_eq!(cells, columns, "{} ({stage})", kind.info().kind);
            kind.default(&mut object);
        }
    }
}

#[test]
fn nothing_panics_on_bare_objects_and_defaults_are_idempotent() {
    let user = UserInfo::named("u", &[]);
    for kind in all(&deps()) {
        let name = kind.info().kind.to_string();
        let mut object = bare(&kind);
        kind.default(&mut object);
        let once = object.clone();
        kind.default(&mut object);
        assert_eq!(object, once, "{name}: defaults are idempotent");
        let mut subresources = vec![None];
        let all = kind.subresources();
        subresources.extend(all.iter().map(|one| Some(one.name.as_ref())));
        for subresource in subresources {
            let ctx = WriteContext {
                user: &user,
                now: "2026-01-02T00:00:00Z".parse().unwrap(),
                namespace: "b",
                subresource,
                dry_run: false,
            };
            let mut new = object.clone();
            let create = WriteContext { subresource: None, ..ctx };
            kind.prepare_create(&create, &mut new);
            let _ = kind.validate_create(&create, &new);
            let old = new.clone();
            kind.prepare_update(&ctx, &mut new, &old);
            assert_eq!(new, old, "{name}: an update that changes nothing changes nothing");
            let errors = kind.validate_update(&ctx, &new, &old);
            let immutable = errors.iter().any(|error| error.detail == crate::check::IMMUTABLE);
            assert!(!immutable, "{name}: what is unchanged is not immutable: {errors:?}");
            let _ = kind.warnings(&new, Some(&old));
            let _ = kind.prepare_deletion(&ctx, &mut new, None);
        }
        for field in kind.selectable_fields() {
            let _ = kind.field(&object, field);
        }
    }
}

#[test]
fn conversions_keep_the_version_and_come_back() {
    for kind in all(&deps()) {
        let info = kind.info();
        for version in &info.versions {
            let mut object = bare(&kind);
            object["apiVersion"] = api::names::join_api_version(&info.group, &version.name).into();
            let stored = kind.convert(object.clone(), &info.storage_version).unwrap();
            let back = kind.convert(stored, &version.name).unwrap();
            assert_eq!(back["apiVersion"], object["apiVersion"], "{}", info.kind);
            assert_eq!(back["metadata"], object["metadata"]);
        }
    }
}

/// The kinds of a list as `plural` or `plural.group`.
fn names_of(kinds: &[Arc<dyn Resource>], which: impl Fn(&dyn Resource) -> bool) -> Vec<String> {
    let chosen = kinds.iter().filter(|kind| which(kind.as_ref()));
    let mut names: Vec<String> = chosen.map(|kind| kind.info().plural.to_string()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn who_creates_by_put_and_who_needs_a_resource_version() {
    let kinds = all(&deps());
    assert_eq!(
        names_of(&kinds, |kind| kind.allows_create_on_update()),
        [
            "clusterrolebindings",
            "clusterroles",
            "endpoints",
            "events",
            "leasecandidates",
            "leases",
            "limitranges",
            "rolebindings",
            "roles",
            "runtimeclasses",
            "services",
        ]
    );
    assert_eq!(
        names_of(&kinds, |kind| !kind.allows_unconditional_update()),
        [
            "apiservices",
            "clustertrustbundles",
            "csidrivers",
            "csinodes",
            "csistoragecapacities",
            "customresourcedefinitions",
            "leasecandidates",
            "leases",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "mutatingwebhookconfigurations",
            "podcertificaterequests",
            "poddisruptionbudgets",
            "runtimeclasses",
            "storageversionmigrations",
            "storageversions",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "validatingwebhookconfigurations",
            "volumeattachments",
        ]
    );
}

#[test]
fn who_counts_generations() {
    let user = UserInfo::named("u", &[]);
    let kinds = all(&deps());
    let counts = names_of(&kinds, |kind| {
        let ctx = WriteContext {
            user: &user,
            now: "2026-01-02T00:00:00Z".parse().unwrap(),
            namespace: "b",
            subresource: None,
            dry_run: false,
        };
        let mut object = json!({"metadata": {"name": "a"}});
        kind.prepare_create(&ctx, &mut object);
        object["metadata"]["generation"] == 1
    });
    let expected = "cronjobs customresourcedefinitions daemonsets deployments \
        deviceclasses devicetaintrules endpointslices flowschemas ingressclasses ingresses jobs \
        mutatingadmissionpolicies mutatingadmissionpolicybindings mutatingwebhookconfigurations \
        networkpolicies poddisruptionbudgets pods podtemplates priorityclasses \
        prioritylevelconfigurations replicasets replicationcontrollers resourceslices statefulsets \
        validatingadmissionpolicies validatingadmissionpolicybindings \
        validatingwebhookconfigurations";
    let expected: Vec<&str> = expected.split_whitespace().collect();
    assert_eq!(counts, expected);
}

#[test]
fn what_a_write_of_the_status_leaves_alone() {
    let user = UserInfo::named("u", &[]);
    let ctx = WriteContext {
        user: &user,
        now: "2026-01-02T00:00:00Z".parse().unwrap(),
        namespace: "b",
        subresource: Some("status"),
        dry_run: false,
    };
    let kinds = all(&deps());
    for (group, plural, kept, reset) in [
        ("", "nodes", false, vec!["spec"]),
        ("apps", "deployments", true, vec!["spec", "metadata.labels"]),
        ("networking.k8s.io", "servicecidrs", true, vec!["metadata", "spec"]),
        ("storage.k8s.io", "volumeattachments", true, vec!["metadata", "spec"]),
    ] {
        let kind = find(&kinds, group, plural);
        let labelled = |text: &str| json!({"metadata": {"name": "a", "labels": {"l": text}}});
        let (old, mut new) = (labelled("old"), labelled("new"));
        kind.prepare_update(&ctx, &mut new, &old);
        let expected = if kept { "old" } else { "new" };
        assert_eq!(new["metadata"]["labels"]["l"], expected, "{plural}");
        assert_eq!(kind.reset_fields(Some("status")), reset, "{plural}");
    }
}

#[test]
fn what_a_deletion_answers() {
    let kinds = all(&deps());
    for (group, plural, object) in [
        ("", "pods", true),
        ("", "services", true),
        ("", "configmaps", false),
        ("apps", "deployments", false),
        ("storage.k8s.io", "storageclasses", true),
    ] {
        assert_eq!(find(&kinds, group, plural).returns_deleted(), object, "{plural}");
    }
}
