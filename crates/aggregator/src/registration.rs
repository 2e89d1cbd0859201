//! APIServices of the versions that this server serves itself: built-in ones once at the start,
//! those of custom resources for as long as some CustomResourceDefinition serves them.
//!
//! Whoever changes or deletes one of the first kind has the last word until the next start; one
//! without the label is nobody's business here.
//! (Kubernetes kube-aggregator `pkg/controllers/autoregister`, `crdregistration`)

use std::collections::{BTreeMap, HashSet};
use std::sync::OnceLock;

use api::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use api::k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceSpec,
};
use api::priority::{self, Priority};
use async_trait::async_trait;
use parking_lot::Mutex;
use reconcile::{Action, Cache, Caches, Ctx, Delete, Error, Key, Reconciler, Watches, or_gone};

const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Who manages an APIService, as its label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Managed {
    /// Somebody else.
    Not,
    /// This controller, at each start.
    OnStart,
    /// This controller, always.
    Always,
}

impl Managed {
    fn of(service: &APIService) -> Self {
        let labels = service.metadata.labels.as_ref();
        match labels.and_then(|labels| labels.get(LABEL)).map(String::as_str) {
            Some("onstart") => Self::OnStart,
            Some("true") => Self::Always,
            _ => Self::Not,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::OnStart => "onstart",
            _ => "true",
        }
    }
}

/// What is to be done about one APIService.
#[derive(Debug, Clone, PartialEq)]
enum Deed {
    Nothing,
    Create(Box<APIService>),
    Update(Box<APIService>),
    Delete,
}

/// The controller.
pub(crate) struct Registration {
    apis: Cache<APIService>,
    crds: Cache<CustomResourceDefinition>,
    built_in: BTreeMap<String, APIService>,
    /// The APIServices that were there when work began.
    at_start: OnceLock<HashSet<String>>,
    /// Those that have been dealt with once.
    synced: Mutex<HashSet<String>>,
}

impl Registration {
    pub(crate) fn new(caches: &Caches, local: Vec<(String, String)>) -> Self {
        let built_in = local
            .iter()
            .filter(|(group, version)| priority::is_registered(group, version))
            .filter_map(|(group, version)| {
                let priority = priority::built_in(group, version)?;
                let service = wanted(group, version, priority, Managed::OnStart);
                Some((name_of(group, version), service))
            })
            .collect();
        Self {
            apis: caches.of(),
            crds: caches.of(),
            built_in,
            at_start: OnceLock::new(),
            synced: Mutex::default(),
        }
    }

    /// The APIService that ought to be there under a name.
    fn wanted(&self, name: &str) -> Option<APIService> {
        if let Some(built_in) = self.built_in.get(name) {
            return Some(built_in.clone());
        }
        let (version, group) = name.split_once('.')?;
        let is_served = self.crds.list().iter().any(|crd| {
            let mut versions = crd.spec.versions.iter();
            crd.spec.group == group && versions.any(|own| own.name == version && own.served)
        });
        is_served.then(|| wanted(group, version, priority::CUSTOM, Managed::Always))
    }
}

/// `v1.apps`; `v1.` for the core group.
fn name_of(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

fn wanted(group: &str, version: &str, priority: Priority, managed: Managed) -> APIService {
    let labels = [(LABEL.to_owned(), managed.label().to_owned())];
    APIService {
        metadata: ObjectMeta {
            name: Some(name_of(group, version)),
            labels: Some(labels.into_iter().collect()),
            ..ObjectMeta::default()
        },
        spec: Some(APIServiceSpec {
            group: Some(group.to_owned()).filter(|group| !group.is_empty()),
            version: Some(version.to_owned()),
            group_priority_minimum: priority.group,
            version_priority: priority.version,
            ..APIServiceSpec::default()
        }),
        status: None,
    }
}

/// What is to be done. Pure; upstream's table is in `checkAPIService`.
fn plan(
    wanted: Option<APIService>,
    current: Option<&APIService>,
    was_there: bool,
    was_synced: bool,
) -> Deed {
    let wants_start_only = wanted.as_ref().is_some_and(|own| Managed::of(own) == Managed::OnStart);
    if wants_start_only && was_synced {
        return Deed::Nothing;
    }
    let Some(current) = current else {
        return wanted.map_or(Deed::Nothing, |wanted| Deed::Create(Box::new(wanted)));
    };
    match Managed::of(current) {
        Managed::Not => return Deed::Nothing,
        Managed::OnStart if !was_there || was_synced => return Deed::Nothing,
        _ => {}
    }
    match wanted {
        None => Deed::Delete,
        Some(wanted) if same_spec(&wanted, current) => Deed::Nothing,
        Some(wanted) => Deed::Update(Box::new(APIService { spec: wanted.spec, ..current.clone() })),
    }
}

fn same_spec(left: &APIService, right: &APIService) -> bool {
    let plain = |service: &APIService| {
        let mut spec = service.spec.clone().unwrap_or_default();
        // Absent and empty mean the same here.
        spec.group = spec.group.filter(|group| !group.is_empty());
        spec
    };
    plain(left) == plain(right)
}

#[async_trait]
impl Reconciler for Registration {
    fn name(&self) -> &'static str {
        "apiservice-registration-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.apis);
        watches.on(&self.crds, |event, queue| {
            for crd in event.old().into_iter().chain([event.object()]) {
                for version in &crd.spec.versions {
                    queue.add(Key::new("", &name_of(&crd.spec.group, &version.name)));
                }
            }
        });
        for name in self.built_in.keys() {
            watches.once(Key::new("", name));
        }
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let names = || {
            let all = self.apis.list();
            all.iter().filter_map(|service| service.metadata.name.clone()).collect()
        };
        let was_there = self.at_start.get_or_init(names).contains(&*key.name);
        let was_synced = self.synced.lock().contains(&*key.name);
        let current = self.apis.get_key(key);
        match plan(self.wanted(&key.name), current.as_deref(), was_there, was_synced) {
            Deed::Nothing => {}
            Deed::Create(service) => match ctx.writer.create(&*service).await {
                // Another server of the same cluster was quicker.
                Err(failure) if failure.is_already_exists() => {}
                created => drop(created?),
            },
            Deed::Update(service) => drop(or_gone(ctx.writer.update(&*service).await)?),
            Deed::Delete => {
                let uid = current.as_ref().and_then(|current| current.metadata.uid.as_deref());
                or_gone(ctx.writer.delete::<APIService>(key, Delete::uid(uid)).await)?;
            }
        }
        self.synced.lock().insert(key.name.to_string());
        Ok(Action::Await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(managed: Managed, priority: i32) -> APIService {
        let mut made = wanted("g", "v1", Priority { group: priority, version: 1 }, Managed::Always);
        let labels = made.metadata.labels.get_or_insert_default();
        match managed {
            Managed::Not => drop(labels.remove(LABEL)),
            other => drop(labels.insert(LABEL.to_owned(), other.label().to_owned())),
        }
        made
    }

    #[test]
    fn upstreams_table() {
        use Managed::{Always, Not, OnStart};
        // What is wanted and what is there, by who manages it and by its priority; whether it was
        // there at the start; whether it has been dealt with.
        type Side = Option<(Managed, i32)>;
        let check = |wanted: Side, current: Side, there: bool, synced: bool, expected: &str| {
            let make = |side: Side| side.map(|(managed, priority)| service(managed, priority));
            let deed = match plan(make(wanted), make(current).as_ref(), there, synced) {
                Deed::Nothing => "nothing",
                Deed::Create(_) => "create",
                Deed::Update(_) => "update",
                Deed::Delete => "delete",
            };
            assert_eq!(deed, expected, "{wanted:?} {current:?} {there} {synced}");
        };
        check(None, None, false, false, "nothing");
        check(Some((OnStart, 1)), None, false, false, "create");
        check(Some((OnStart, 1)), None, false, true, "nothing");
        check(Some((Always, 1)), None, false, true, "create");
        for wanted in [None, Some((OnStart, 1)), Some((Always, 1))] {
            check(wanted, Some((Not, 2)), true, false, "nothing");
            check(wanted, Some((OnStart, 2)), false, false, "nothing");
        }
        check(None, Some((OnStart, 2)), true, false, "delete");
        check(None, Some((OnStart, 2)), true, true, "nothing");
        check(Some((OnStart, 1)), Some((OnStart, 2)), true, false, "update");
        check(Some((OnStart, 1)), Some((OnStart, 1)), true, false, "nothing");
        check(Some((OnStart, 1)), Some((OnStart, 2)), true, true, "nothing");
        check(None, Some((Always, 2)), true, true, "delete");
        check(Some((Always, 1)), Some((Always, 2)), false, true, "update");
    }
}
