//! Requests of those who act: create, update, status, patch, delete, get; failures by class.
//!
//! Typed at the edge: what is generic here only encodes and decodes; the request is made once.

use api::typed::{Kind, ResourceType};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use serde_json::Value;

use crate::failure::Failure;
use crate::key::Key;
use crate::reflector::encode;

/// A patch, by its kind.
#[derive(Debug, Clone)]
pub enum Patch {
    /// RFC 6902, a list of operations.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Merge by list keys; built-in kinds only.
    Strategic(Value),
    /// Server-side apply under a manager's name, taking over what others hold when forced.
    Apply {
        /// The object as far as the manager has an opinion.
        object: Value,
        /// The name of the manager.
        manager: String,
        /// Whether to take over fields that others hold.
        force: bool,
    },
}

impl Patch {
    fn parts(self) -> (&'static str, Value, String) {
        match self {
            Self::Json(body) => ("application/json-patch+json", body, String::new()),
            Self::Merge(body) => ("application/merge-patch+json", body, String::new()),
            Self::Strategic(body) => {
                ("application/strategic-merge-patch+json", body, String::new())
            }
            Self::Apply { object, manager, force } => (
                "application/apply-patch+yaml",
                object,
                format!("?fieldManager={}&force={force}", encode(&manager)),
            ),
        }
    }
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct Delete {
    /// Only the object with this UID.
    pub uid: Option<String>,
    /// Only this version of the object.
    pub resource_version: Option<String>,
    /// `Background`, `Foreground` or `Orphan`; the server's default when absent.
    pub propagation: Option<&'static str>,
    /// The grace period; the object's own when absent.
    pub grace_seconds: Option<i64>,
}

impl Delete {
    /// Deletes only the object with this UID.
    #[must_use]
    pub fn uid(uid: Option<&str>) -> Self {
        Self { uid: uid.map(str::to_owned), ..Self::default() }
    }

    fn body(self) -> Vec<u8> {
        let preconditions = (self.uid.is_some() || self.resource_version.is_some())
            .then_some(Preconditions { uid: self.uid, resource_version: self.resource_version });
        let options = DeleteOptions {
            api_version: Some("v1".to_owned()),
            kind: Some("DeleteOptions".to_owned()),
            preconditions,
            propagation_policy: self.propagation.map(str::to_owned),
            grace_period_seconds: self.grace_seconds,
            ..DeleteOptions::default()
        };
        serde_json::to_vec(&options).expect("Kubernetes types have string keys only")
    }
}

/// A client with an identity that writes. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    client: kube::Client,
    agent: &'static str,
}

impl Writer {
    /// A writer whose user agent is `agent`; the server takes the field manager's name from it.
    #[must_use]
    pub fn new(client: kube::Client, agent: &'static str) -> Self {
        Self { client, agent }
    }

    /// The client beneath.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Reads an object from the server, past all caches.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn get<K: Kind>(&self, key: &Key) -> Result<K, Failure> {
        let request = Request::on::<K>("GET", "get", key, "");
        decoded(&request, &self.send(&request).await?)
    }

    /// Creates an object in the namespace of its metadata.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn create<K: Kind>(&self, object: &K) -> Result<K, Failure> {
        let resource = K::resource();
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.as_deref().or(meta.generate_name.as_deref()).unwrap_or_default();
        let request = Request {
            method: "POST",
            path: resource.collection_path(namespace),
            content: "application/json",
            body: object.encode(),
            attempt: attempt("create", &resource, &Key::new(namespace, name)),
        };
        decoded(&request, &self.send(&request).await?)
    }

    /// Replaces an object; its resource version, when set, must be the current one.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn update<K: Kind>(&self, object: &K) -> Result<K, Failure> {
        self.replace(object, "").await
    }

    /// Replaces the status of an object.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn update_status<K: Kind>(&self, object: &K) -> Result<K, Failure> {
        self.replace(object, "status").await
    }

    /// Replaces a subresource (`status`, `approval`, `finalize`; the object itself when empty).
    ///
    /// # Errors
    /// The request's failure.
    pub async fn replace<K: Kind>(&self, object: &K, subresource: &str) -> Result<K, Failure> {
        let mut request = Request::on::<K>("PUT", "update", &Key::of(object.meta()), subresource);
        request.body = object.encode();
        decoded(&request, &self.send(&request).await?)
    }

    /// Patches an object or a subresource of it.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn patch<K: Kind>(
        &self,
        key: &Key,
        subresource: &str,
        patch: Patch,
    ) -> Result<K, Failure> {
        let bytes = self.patch_raw(&K::resource(), key, subresource, patch).await?;
        K::decode(&bytes)
            .map_err(|error| Failure::decode(attempt("patch", &K::resource(), key), &error))
    }

    /// Patches an object of a resource known at run time; the answer is its JSON.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn patch_raw(
        &self,
        resource: &ResourceType,
        key: &Key,
        subresource: &str,
        patch: Patch,
    ) -> Result<Vec<u8>, Failure> {
        let (content, body, query) = patch.parts();
        let path = resource.object_path(&key.namespace, &key.name, subresource) + &query;
        let body = body.to_string().into_bytes();
        let attempt = attempt("patch", resource, key);
        self.send(&Request { method: "PATCH", path, content, body, attempt }).await
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// The request's failure; "not found" is one.
    pub async fn delete<K: Kind>(&self, key: &Key, how: Delete) -> Result<(), Failure> {
        self.delete_raw(&K::resource(), key, how).await
    }

    /// Deletes an object of a resource known at run time.
    ///
    /// # Errors
    /// The request's failure; "not found" is one.
    pub async fn delete_raw(
        &self,
        resource: &ResourceType,
        key: &Key,
        how: Delete,
    ) -> Result<(), Failure> {
        let path = resource.object_path(&key.namespace, &key.name, "");
        let attempt = attempt("delete", resource, key);
        let content = "application/json";
        self.send(&Request { method: "DELETE", path, content, body: how.body(), attempt }).await?;
        Ok(())
    }

    /// Any request; the answer is its body. `path` may carry a query.
    ///
    /// # Errors
    /// The request's failure.
    pub async fn raw(
        &self,
        method: &'static str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let attempt = format!("{} {path}", method.to_lowercase());
        let content = "application/json";
        self.send(&Request { method, path: path.to_owned(), content, body, attempt }).await
    }

    async fn send(&self, request: &Request) -> Result<Vec<u8>, Failure> {
        let mut builder = http::Request::builder()
            .method(request.method)
            .uri(&request.path)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::USER_AGENT, self.agent);
        if !request.body.is_empty() {
            builder = builder.header(http::header::CONTENT_TYPE, request.content);
        }
        let built = builder
            .body(request.body.clone())
            .map_err(|error| Failure::decode(request.attempt.clone(), &error))?;
        let answer = self.client.request_text(built).await;
        answer
            .map(String::into_bytes)
            .map_err(|error| Failure::from_kube(request.attempt.clone(), &error))
    }
}

struct Request {
    method: &'static str,
    path: String,
    content: &'static str,
    body: Vec<u8>,
    attempt: String,
}

impl Request {
    fn on<K: Kind>(method: &'static str, verb: &str, key: &Key, subresource: &str) -> Self {
        let resource = K::resource();
        Self {
            method,
            path: resource.object_path(&key.namespace, &key.name, subresource),
            content: "application/json",
            body: Vec::new(),
            attempt: attempt(verb, &resource, key),
        }
    }
}

fn decoded<K: Kind>(request: &Request, bytes: &[u8]) -> Result<K, Failure> {
    K::decode(bytes).map_err(|error| Failure::decode(request.attempt.clone(), &error))
}

fn attempt(verb: &str, resource: &ResourceType, key: &Key) -> String {
    format!("{verb} {} {key}", resource.group_resource())
}
