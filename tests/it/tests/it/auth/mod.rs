//! Who may do what: the default roles, attacks, tokens, nodes.

mod at_rest;
mod attacks;
mod nodes;
mod roles;
mod tokens;

use auth::UserInfo;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::cluster::Cluster;

/// A caller of the API server, with headers that all its requests carry.
pub(crate) struct Caller<'a> {
    cluster: &'a Cluster,
    user: Option<UserInfo>,
    headers: Vec<(String, String)>,
}

impl Cluster {
    /// A caller that is known.
    pub(crate) fn caller(&self, name: &str, groups: &[&str]) -> Caller<'_> {
        let user = Some(UserInfo::named(name, groups));
        Caller { cluster: self, user, headers: Vec::new() }
    }

    /// A caller that has all rights.
    pub(crate) fn admin(&self) -> Caller<'_> {
        self.caller("admin", &[auth::groups::MASTERS])
    }

    /// A caller by its bearer token.
    pub(crate) fn bearer(&self, token: &str) -> Caller<'_> {
        let header = ("authorization".to_owned(), format!("Bearer {token}"));
        Caller { cluster: self, user: None, headers: vec![header] }
    }
}

impl Caller<'_> {
    /// The same caller, with one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The status and the body of an answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let kind =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        request = request.header("content-type", kind);
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = request.body(Full::from(bytes)).unwrap();
        let server = &self.cluster.server.server;
        let service = match &self.user {
            Some(user) => server.client_service(user.clone()),
            None => server.service(),
        };
        let response = service.oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// An answer that must be a success.
    pub(crate) async fn must(&self, method: &str, path: &str, body: Value) -> Value {
        let (code, answer) = self.ask(method, path, body).await;
        assert!((200..300).contains(&code), "{method} {path}: {answer:#}");
        answer
    }

    /// An answer that must be a refusal of this code, whose message has these words in it.
    pub(crate) async fn refused(
        &self,
        method: &str,
        path: &str,
        body: Value,
        code: u16,
        words: &str,
    ) {
        let (found, answer) = self.ask(method, path, body).await;
        assert_eq!(found, code, "{method} {path}: {answer:#}");
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{method} {path}: {message}\nwanted: {words}");
    }
}

pub(crate) const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A role with one rule.
pub(crate) fn role(
    kind: &str,
    name: &str,
    verbs: &[&str],
    group: &str,
    resources: &[&str],
) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "rules": [{"verbs": verbs, "apiGroups": [group], "resources": resources}]})
}

/// A binding of a ClusterRole to a user; of the kind whose path it goes to.
pub(crate) fn binding(kind: &str, name: &str, role: &str, user: &str) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]})
}

impl Cluster {
    /// Lets a user do this, everywhere.
    pub(crate) async fn allow(&self, user: &str, verbs: &[&str], group: &str, resources: &[&str]) {
        let number = self.admin().must("GET", &format!("{RBAC}/clusterroles"), Value::Null).await;
        let name = format!("{user}-{}", number["items"].as_array().unwrap().len());
        let made = role("ClusterRole", &name, verbs, group, resources);
        self.admin().must("POST", &format!("{RBAC}/clusterroles"), made).await;
        let bound = binding("ClusterRoleBinding", &name, &name, user);
        self.admin().must("POST", &format!("{RBAC}/clusterrolebindings"), bound).await;
        self.until_allowed(user, verbs[0], group, resources[0]).await;
    }

    /// Waits until the authorizer has seen what gives a user this right.
    async fn until_allowed(&self, user: &str, verb: &str, group: &str, resource: &str) {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": {"verb": verb, "group": group,
                "resource": resource, "subresource": subresource}}});
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let allowed = tokio::time::timeout(std::time::Duration::from_secs(20), async {
            while self.admin().must("POST", path, review.clone()).await["status"]["allowed"] != true
            {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        });
        allowed.await.expect("the right is seen");
    }
}
