//! ServiceAccount: who a pod is; and its tokens, made on request.

use std::sync::Arc;

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::names::GroupResource;
use api::object::{at, int_at, list_at, set, str_at, uid};
use api::status::{ApiError, ApiResult};
use apiserver::resource::{
    ObjectApi, Resource, SubresourceAnswer, SubresourceHandler, SubresourceRequest,
};
use async_trait::async_trait;
use auth::token::{Claims, PrivateClaims, Reference, TokenAuthority, service_account_username};
use base::clock::{SharedClock, Timestamp, rfc3339_seconds};
use base::rng::SharedRng;
use serde_json::json;

use crate::deps::Deps;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The shortest life of a token.
const LIFE_MIN_SECONDS: i64 = 600;
/// The life that the injected volume asks for; such tokens live a year and are warned of after it,
/// so that old clients that never reload survive (KEP-1205).
const INJECTED_LIFE_SECONDS: i64 = 3607;
const YEAR_SECONDS: i64 = 365 * 24 * 3600;

/// The kind.
#[must_use]
pub fn kind(deps: &Deps) -> Arc<dyn Resource> {
    let issuer = TokenRequests {
        tokens: Arc::clone(&deps.tokens),
        clock: Arc::clone(&deps.clock),
        rng: deps.rng.clone(),
    };
    Kind::of("", "serviceaccounts").handled("token", issuer).rules(ServiceAccount)
}

struct ServiceAccount;

impl Rules for ServiceAccount {
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::age(object, now)]
    }
}

struct TokenRequests {
    tokens: Arc<TokenAuthority>,
    clock: SharedClock,
    rng: SharedRng,
}

#[async_trait]
impl SubresourceHandler for TokenRequests {
    async fn handle(
        &self,
        api: &dyn ObjectApi,
        request: SubresourceRequest,
    ) -> ApiResult<SubresourceAnswer> {
        let accounts = GroupResource::new("", "serviceaccounts");
        let account = api.get(&accounts, &request.namespace, &request.name).await?;
        let mut body = request.body.unwrap_or_else(|| json!({}));
        let asked_uid = uid(&body);
        if !asked_uid.is_empty() && asked_uid != uid(&account) {
            // (TokenRequestServiceAccountUIDValidation)
            let text = format!(
                "the UID in the token request ({asked_uid}) does not match the UID of the service account ({})",
                uid(&account)
            );
            return Err(ApiError::conflict(&accounts, &request.name, &text));
        }
        let (name, namespace) =
            (str_at(&body, &["metadata", "name"]), str_at(&body, &["metadata", "namespace"]));
        if !name.is_empty() && name != request.name {
            let path = Path::new("metadata").child("name");
            let text = "must match the service account name if specified";
            let error = FieldError::invalid(path, name, text);
            let group = "authentication.k8s.io";
            return Err(ApiError::invalid(group, "TokenRequest", &request.name, &[error]));
        }
        if !namespace.is_empty() && namespace != request.namespace {
            let text = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(ApiError::bad_request(text));
        }
        default(&mut body, &self.tokens);
        check(&body)?;
        let bound = bound_object(api, &request.namespace, &request.name, &body).await?;
        let now = self.clock.now();
        let asked = int_at(&body, &["spec", "expirationSeconds"]).unwrap_or(3600);
        let extended = asked == INJECTED_LIFE_SECONDS && bound.pod.is_some();
        let life = if extended { YEAR_SECONDS } else { asked };
        let claims = Claims {
            aud: list_at(&body, &["spec", "audiences"])
                .iter()
                .filter_map(|audience| audience.as_str().map(str::to_owned))
                .collect(),
            exp: now.as_second() + life,
            iat: now.as_second(),
            nbf: now.as_second(),
            jti: uuid::Builder::from_random_bytes(self.rng.bytes16()).into_uuid().to_string(),
            sub: service_account_username(&request.namespace, &request.name),
            kubernetes: PrivateClaims {
                namespace: request.namespace.clone(),
                serviceaccount: Reference {
                    name: request.name.clone(),
                    uid: uid(&account).to_owned(),
                },
                warnafter: extended.then_some(now.as_second() + asked),
                ..bound
            },
            ..Claims::default()
        };
        let token = self.tokens.sign(claims).map_err(ApiError::internal)?;
        // What was asked is what the caller is told, however long the token really lives.
        let expires = now.as_second() + asked;
        let expires = Timestamp::from_second(expires).map_err(ApiError::internal)?;
        set(&mut body, &["metadata", "name"], request.name.as_str());
        set(&mut body, &["metadata", "namespace"], request.namespace.as_str());
        set(&mut body, &["metadata", "uid"], uid(&account));
        set(&mut body, &["metadata", "creationTimestamp"], rfc3339_seconds(now));
        set(&mut body, &["apiVersion"], "authentication.k8s.io/v1");
        set(&mut body, &["kind"], "TokenRequest");
        body["status"] = json!({"token": token, "expirationTimestamp": rfc3339_seconds(expires)});
        Ok(SubresourceAnswer::Object(201, body))
    }
}

fn default(body: &mut Value, tokens: &TokenAuthority) {
    if at(body, &["spec", "expirationSeconds"]).is_none() {
        set(body, &["spec", "expirationSeconds"], 3600);
    }
    if list_at(body, &["spec", "audiences"]).is_empty() {
        set(body, &["spec", "audiences"], tokens.audiences().to_vec());
    }
}

fn check(body: &Value) -> ApiResult<()> {
    let mut errors = ErrorList::new();
    let path = Path::new("spec").child("expirationSeconds");
    let seconds = int_at(body, &["spec", "expirationSeconds"]).unwrap_or_default();
    if seconds < LIFE_MIN_SECONDS {
        let text = "may not specify a duration less than 10 minutes";
        errors.push(FieldError::invalid(path, seconds, text));
    } else if seconds > 1 << 32 {
        let text = "may not specify a duration larger than 2^32 seconds";
        errors.push(FieldError::invalid(path, seconds, text));
    }
    ApiError::check("authentication.k8s.io", "TokenRequest", "", &errors)
}

/// The object that a token lives and dies with, checked to be there.
async fn bound_object(
    api: &dyn ObjectApi,
    namespace: &str,
    account: &str,
    body: &Value,
) -> ApiResult<PrivateClaims> {
    let mut claims = PrivateClaims::default();
    let Some(wanted) = at(body, &["spec", "boundObjectRef"]) else { return Ok(claims) };
    let (kind, name) = (str_at(wanted, &["kind"]), str_at(wanted, &["name"]));
    let (resource, namespace) = match (str_at(wanted, &["apiVersion"]), kind) {
        ("" | "v1", "Pod") => ("pods", namespace),
        ("" | "v1", "Secret") => ("secrets", namespace),
        ("" | "v1", "Node") => ("nodes", ""),
        (version, kind) => {
            let (group, version) = api::names::split_api_version(version);
            let text =
                format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(ApiError::bad_request(text));
        }
    };
    let resource = GroupResource::new("", resource);
    let object = api.get(&resource, namespace, name).await?;
    let wanted_uid = str_at(wanted, &["uid"]);
    if !wanted_uid.is_empty() && wanted_uid != uid(&object) {
        let text = format!(
            "the UID in the bound object reference ({wanted_uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(&resource, name, &text));
    }
    let reference = Reference { name: name.to_owned(), uid: uid(&object).to_owned() };
    match kind {
        "Pod" => {
            if str_at(&object, &["spec", "serviceAccountName"]) != account {
                let text = format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                );
                return Err(ApiError::bad_request(text));
            }
            let node = str_at(&object, &["spec", "nodeName"]);
            if !node.is_empty() {
                claims.node = Some(node_reference(api, node).await?);
            }
            claims.pod = Some(reference);
        }
        "Secret" => claims.secret = Some(reference),
        _ => claims.node = Some(reference),
    }
    Ok(claims)
}

async fn node_reference(api: &dyn ObjectApi, name: &str) -> ApiResult<Reference> {
    match api.get(&GroupResource::new("", "nodes"), "", name).await {
        Ok(node) => Ok(Reference { name: name.to_owned(), uid: uid(&node).to_owned() }),
        Err(error) if error.code() == 404 => {
            Ok(Reference { name: name.to_owned(), uid: String::new() })
        }
        Err(error) => Err(error),
    }
}
