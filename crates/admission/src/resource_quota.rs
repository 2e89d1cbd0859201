//! A ResourceQuota bounds what a namespace uses: what a write would use more is charged before it is
//! stored, by compare-and-swap on the quota's status.
//!
//! A charge for a write that fails afterwards is taken back by the quota controller's next count.
//! Rules and texts are upstream's `apiserver/pkg/admission/plugin/resourcequota`.

use api::Value;
use api::names::GroupResource;
use api::object::{at, name, set, str_at};
use api::quantity::Quantity;
use api::quota::{Amounts, Item, is_in_scopes, missing};
use api::status::{ApiError, ApiResult};
use api::typed::Kind;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use base::clock::SharedClock;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota as Quota, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;

/// `ResourceQuota`.
pub(crate) struct ResourceQuota {
    clock: SharedClock,
}

impl ResourceQuota {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { clock }
    }
}

fn quotas() -> GroupResource {
    GroupResource::new("", "resourcequotas")
}

/// Kinds that cost more than their number, so that a change of them is charged too.
fn is_measured(resource: &GroupResource) -> bool {
    matches!(
        (&*resource.group, &*resource.resource),
        ("", "services" | "persistentvolumeclaims") | ("resource.k8s.io", "resourceclaims")
    )
}

#[async_trait]
impl AdmissionPlugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        let resource = &request.resource;
        let is = |plural: &str| resource.group.is_empty() && &*resource.resource == plural;
        let charged = match request.subresource {
            None => {
                request.operation == Operation::Create
                    || request.operation == Operation::Update && is_measured(resource)
            }
            Some("resize") => is("pods") && request.operation == Operation::Update,
            Some(_) => false,
        };
        charged && !request.namespace.is_empty() && !is("namespaces")
    }

    async fn validate(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let found = api.list(&quotas(), request.namespace).await?;
        let Some(object) = request.object.as_deref().filter(|_| !found.is_empty()) else {
            return Ok(());
        };
        let forbidden = |why: &str| ApiError::forbidden(&request.resource, request.name, why);
        let typed = Typed::of(&request.resource, object)?;
        let item = typed.item(&request.resource);
        let mut concerned = Vec::new();
        for quota in &found {
            if is_concerned(quota, &item).map_err(|why| forbidden(&why))? {
                concerned.push(name(quota).to_owned());
            }
        }
        if concerned.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let mut more = item.usage(now);
        let negative: Vec<&str> = more
            .iter()
            .filter(|(_, amount)| **amount < Quantity::from_int(0))
            .map(|(name, _)| name.as_str())
            .collect();
        if !negative.is_empty() {
            let why = format!("quota usage is negative for resource(s): {}", negative.join(","));
            return Err(forbidden(&why));
        }
        if let Some(old) = request.old.filter(|_| request.operation == Operation::Update) {
            let before = Typed::of(&request.resource, old)?;
            for (name, amount) in before.item(&request.resource).usage(now) {
                if let Some(own) = more.get_mut(&name) {
                    *own -= amount;
                }
            }
        }
        more.retain(|_, amount| *amount > Quantity::from_int(0));
        if more.is_empty() {
            return Ok(());
        }
        let charge = Charge { request, more: &more };
        charge.all(api, &concerned).await
    }
}

/// What is charged for a write.
struct Charge<'a, 'r> {
    request: &'a AdmissionRequest<'r>,
    more: &'a Amounts,
}

impl Charge<'_, '_> {
    /// Charges every quota, or none: what was charged is given back when a later one refuses.
    async fn all(&self, api: &dyn ObjectApi, quotas: &[String]) -> ApiResult<()> {
        for (at, quota) in quotas.iter().enumerate() {
            let Err(refused) = self.one(api, quota, |status| self.add(quota, status)).await else {
                continue;
            };
            for charged in &quotas[..at] {
                let given_back = self.one(api, charged, |status| {
                    self.give_back(status);
                    Ok(())
                });
                if let Err(error) = given_back.await {
                    // The controller's next count says what is right.
                    tracing::warn!(%error, quota = charged, "cannot give a quota's charge back");
                }
            }
            return Err(refused);
        }
        Ok(())
    }

    async fn one(
        &self,
        api: &dyn ObjectApi,
        quota: &str,
        change: impl Fn(&mut Value) -> ApiResult<()> + Send + Sync,
    ) -> ApiResult<()> {
        let (namespace, dry_run) = (self.request.namespace, self.request.dry_run);
        let change = |object: &mut Value| change(&mut object["status"]);
        match api.modify(&quotas(), Some("status"), namespace, quota, dry_run, &change).await {
            Ok(_) => Ok(()),
            // A quota that has just gone limits nothing.
            Err(error) if error.code() == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn add(&self, quota: &str, status: &mut Value) -> ApiResult<()> {
        let (mut requested, mut used, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for (resource, more) in self.more {
            let Some(hard) = amount(status, "hard", resource) else { continue };
            let before = amount(status, "used", resource).unwrap_or(Quantity::from_int(0));
            if before + *more > hard {
                requested.push(format!("{resource}={more}"));
                used.push(format!("{resource}={before}"));
                limited.push(format!("{resource}={hard}"));
            } else {
                set(status, &["used", resource], (before + *more).to_string());
            }
        }
        if requested.is_empty() {
            return Ok(());
        }
        let why = format!(
            "exceeded quota: {quota}, requested: {}, used: {}, limited: {}",
            requested.join(","),
            used.join(","),
            limited.join(",")
        );
        Err(ApiError::forbidden(&self.request.resource, self.request.name, &why))
    }

    fn give_back(&self, status: &mut Value) {
        for (resource, more) in self.more {
            if let Some(before) = amount(status, "used", resource) {
                let rest = (before - *more).max(Quantity::from_int(0));
                set(status, &["used", resource], rest.to_string());
            }
        }
    }
}

fn amount(status: &Value, field: &str, resource: &str) -> Option<Quantity> {
    str_at(status, &[field, resource]).parse().ok()
}

/// Whether a quota limits something of the object, or why the object may not be judged by it.
fn is_concerned(quota: &Value, item: &Item<'_>) -> Result<bool, String> {
    let hard = at(quota, &["status", "hard"]).and_then(Value::as_object);
    let limits: Vec<&str> = hard
        .into_iter()
        .flat_map(|map| map.keys())
        .map(String::as_str)
        .filter(|limit| item.is_limited_by(limit))
        .collect();
    if limits.is_empty() {
        return Ok(false);
    }
    let text = serde_json::to_vec(quota).map_err(|error| error.to_string())?;
    let typed = Quota::decode(&text).map_err(|error| error.to_string())?;
    if !is_in_scopes(&typed.spec.unwrap_or_default(), item) {
        return Ok(false);
    }
    if let Item::Pod(pod) = item
        && let Some(why) = missing(pod, &limits)
    {
        return Err(format!("failed quota: {}: {why}", name(quota)));
    }
    if limits.iter().any(|limit| at(quota, &["status", "used", limit]).is_none()) {
        let (name, limits) = (name(quota), limits.join(","));
        return Err(format!("status unknown for quota: {name}, resources: {limits}"));
    }
    Ok(true)
}

/// An object decoded as far as its kind is measured.
enum Typed {
    Pod(Box<Pod>),
    Service(Box<Service>),
    Claim(Box<PersistentVolumeClaim>),
    Devices(Box<ResourceClaim>),
    Other,
}

impl Typed {
    fn of(resource: &GroupResource, object: &Value) -> ApiResult<Self> {
        let decode = || -> Result<Self, serde_json::Error> {
            let text = || serde_json::to_vec(object);
            Ok(match (&*resource.group, &*resource.resource) {
                ("", "pods") => Self::Pod(Box::new(Pod::decode(&text()?)?)),
                ("", "services") => Self::Service(Box::new(Service::decode(&text()?)?)),
                ("", "persistentvolumeclaims") => {
                    Self::Claim(Box::new(PersistentVolumeClaim::decode(&text()?)?))
                }
                ("resource.k8s.io", "resourceclaims") => {
                    Self::Devices(Box::new(ResourceClaim::decode(&text()?)?))
                }
                _ => Self::Other,
            })
        };
        decode().map_err(|error| {
            let name = name(object);
            ApiError::bad_request(format!("cannot measure {resource} {name:?}: {error}"))
        })
    }

    fn item<'a>(&'a self, resource: &'a GroupResource) -> Item<'a> {
        match self {
            Self::Pod(pod) => Item::Pod(pod),
            Self::Service(service) => Item::Service(service),
            Self::Claim(claim) => Item::Claim(claim),
            Self::Devices(claim) => Item::Devices(claim),
            Self::Other => Item::Other(resource),
        }
    }
}
