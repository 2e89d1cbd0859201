//! Tokens of service accounts: for a pod of this node, and for whom the pod asks for them.

use api::Value;
use api::names::GroupResource;
use api::object::{at, list_at, str_at, uid};
use api::status::ApiResult;
use auth::{Attributes, Decision, ResourceAttributes, Target};

use super::Node;

impl Node<'_, '_> {
    pub(super) async fn token(&self) -> ApiResult<()> {
        if !self.creates() {
            return Ok(());
        }
        let wanted = self.object();
        let bound = at(wanted, &["spec", "boundObjectRef"]).unwrap_or(&Value::Null);
        let text = |field: &str| str_at(bound, &[field]);
        if text("apiVersion") != "v1" || text("kind") != "Pod" || text("name").is_empty() {
            return self.refuse("node requested token not bound to a pod");
        }
        if text("uid").is_empty() {
            return self.refuse("node requested token with a pod binding without a uid");
        }
        let pods = GroupResource::new("", "pods");
        let pod = self.api.get(&pods, self.request.namespace, text("name")).await?;
        if uid(&pod) != text("uid") {
            return self.refuse(format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
                text("uid")
            ));
        }
        if str_at(&pod, &["spec", "nodeName"]) != self.name {
            return self
                .refuse("node requested token bound to a pod scheduled on a different node");
        }
        self.audience(wanted, &pod).await
    }

    /// A stolen node must not get tokens for whomever it likes.
    /// (ServiceAccountNodeAudienceRestriction)
    async fn audience(&self, wanted: &Value, pod: &Value) -> ApiResult<()> {
        let audience = match list_at(wanted, &["spec", "audiences"]) {
            [] => "",
            [one] => one.as_str().unwrap_or_default(),
            _ => return self.refuse("node may only request 0 or 1 audiences"),
        };
        if self.pod_asks_for(pod, audience).await {
            return Ok(());
        }
        let target = Target::Resource(ResourceAttributes {
            verb: "request-serviceaccounts-token-audience".to_owned(),
            version: "v1".to_owned(),
            resource: audience.to_owned(),
            namespace: self.request.namespace.to_owned(),
            name: self.request.name.to_owned(),
            ..ResourceAttributes::default()
        });
        let user = self.request.user.clone();
        let username = user.username.clone();
        let answer = self.authorizer.authorize(&Attributes { user, target }).await;
        if matches!(answer, Decision::Allow(_)) {
            return Ok(());
        }
        self.refuse(format!(
            "audience {audience:?} not found in pod spec volume, {username} is not authorized to request tokens for this audience"
        ))
    }

    async fn pod_asks_for(&self, pod: &Value, audience: &str) -> bool {
        let mut drivers = Vec::new();
        for volume in list_at(pod, &["spec", "volumes"]) {
            for source in list_at(volume, &["projected", "sources"]) {
                if let Some(token) = source.get("serviceAccountToken")
                    && str_at(token, &["audience"]) == audience
                {
                    return true;
                }
            }
            if let Some(driver) = at(volume, &["csi", "driver"]).and_then(Value::as_str) {
                drivers.push(driver.to_owned());
            }
            if let Some(driver) = self.driver_of_claim(pod, volume).await {
                drivers.push(driver);
            }
        }
        let kind = GroupResource::new("storage.k8s.io", "csidrivers");
        for driver in drivers {
            let Ok(driver) = self.api.get(&kind, "", &driver).await else { continue };
            let asks = list_at(&driver, &["spec", "tokenRequests"]).iter();
            if asks.map(|one| str_at(one, &["audience"])).any(|one| one == audience) {
                return true;
            }
        }
        false
    }

    /// The CSI driver behind a volume's claim.
    async fn driver_of_claim(&self, pod: &Value, volume: &Value) -> Option<String> {
        let claim = match str_at(volume, &["persistentVolumeClaim", "claimName"]) {
            "" if volume.get("ephemeral").is_some() => {
                format!("{}-{}", api::object::name(pod), str_at(volume, &["name"]))
            }
            "" => return None,
            name => name.to_owned(),
        };
        let claims = GroupResource::new("", "persistentvolumeclaims");
        let claim = self.api.get(&claims, self.request.namespace, &claim).await.ok()?;
        let volume = str_at(&claim, &["spec", "volumeName"]);
        let volume =
            self.api.get(&GroupResource::new("", "persistentvolumes"), "", volume).await.ok()?;
        at(&volume, &["spec", "csi", "driver"])?.as_str().map(str::to_owned)
    }
}
