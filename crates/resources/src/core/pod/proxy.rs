//! `proxy` of pods, services and nodes: passes a request on to a port, and mends what comes back.
//!
//! The name in the path may say more than a name: `[http:|https:]NAME[:PORT]`.

use std::sync::Arc;

use api::Value;
use api::names::GroupResource;
use api::object::{int_at, list_at, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::resource::{
    HttpRequest, HttpResponse, ObjectApi, SubresourceAnswer, SubresourceHandler, SubresourceRequest,
};
use async_trait::async_trait;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;

use crate::core::node::kubelet_of;
use crate::deps::{Deps, NodeTransport, Target};

/// Whose proxy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parent {
    /// A pod's port.
    Pod,
    /// A service's port, straight to one of its endpoints.
    Service,
    /// A node's kubelet, or a port of the node.
    Node,
}

/// Proxies.
pub(crate) struct Proxy {
    nodes: Arc<dyn NodeTransport>,
    parent: Parent,
}

/// `[scheme:]name[:port]`.
struct Named<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Named<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(':');
        let named = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(name), None, ..) => Self { scheme: "", name, port: "" },
            (Some(scheme @ ("http" | "https")), Some(name), None, _) => {
                Self { scheme, name, port: "" }
            }
            (Some(name), Some(port), None, _) => Self { scheme: "", name, port },
            (Some(scheme), Some(name), Some(port), None) => Self { scheme, name, port },
            _ => return None,
        };
        let known = matches!(named.scheme, "" | "http" | "https");
        (known && !named.name.is_empty()).then_some(named)
    }
}

impl Proxy {
    pub(crate) fn new(deps: &Deps, parent: Parent) -> Self {
        Self { nodes: Arc::clone(&deps.nodes), parent }
    }

    async fn target(
        &self,
        api: &dyn ObjectApi,
        namespace: &str,
        named: &Named<'_>,
    ) -> ApiResult<Target> {
        let tls = named.scheme == "https";
        match self.parent {
            Parent::Pod => {
                let pod = api.get(&GroupResource::new("", "pods"), namespace, named.name).await?;
                pod_target(&pod, named, tls)
            }
            Parent::Service => service_target(api, namespace, named, tls).await,
            Parent::Node => {
                let target = kubelet_of(api, named.name).await?;
                match (target, named.port) {
                    (Target::Kubelet { host, port, .. }, given)
                        if !given.is_empty() && given.parse() != Ok(port) =>
                    {
                        Ok(Target::Address { tls, host, port: port_number(given)? })
                    }
                    (target, _) => Ok(target),
                }
            }
        }
    }
}

fn port_number(text: &str) -> ApiResult<u16> {
    text.parse().map_err(|_| ApiError::bad_request(format!("invalid port {text:?}")))
}

fn pod_target(pod: &Value, named: &Named<'_>, tls: bool) -> ApiResult<Target> {
    let ip = list_at(pod, &["status", "podIPs"])
        .first()
        .map_or(str_at(pod, &["status", "podIP"]), |ip| str_at(ip, &["ip"]));
    if ip.is_empty() {
        return Err(ApiError::bad_request("address not allowed"));
    }
    let ports =
        || list_at(pod, &["spec", "containers"]).iter().flat_map(|one| list_at(one, &["ports"]));
    let number =
        |port: &Value| int_at(port, &["containerPort"]).and_then(|n| u16::try_from(n).ok());
    let port = match named.port {
        "" => ports().find_map(number).unwrap_or(if tls { 443 } else { 80 }),
        text => match text.parse() {
            Ok(port) => port,
            Err(_) => ports()
                .find(|port| str_at(port, &["name"]) == text)
                .and_then(number)
                .ok_or_else(|| ApiError::bad_request(format!("invalid port {text:?}")))?,
        },
    };
    Ok(Target::Address { tls, host: ip.to_owned(), port })
}

async fn service_target(
    api: &dyn ObjectApi,
    namespace: &str,
    named: &Named<'_>,
    tls: bool,
) -> ApiResult<Target> {
    let services = GroupResource::new("", "services");
    let service = api.get(&services, namespace, named.name).await?;
    let unavailable = |what: &str| {
        ApiError::unavailable(format!("no {what} available for service {:?}", named.name))
    };
    let ports = list_at(&service, &["spec", "ports"]);
    let wanted = match named.port {
        // A service with one port needs no name for it.
        "" => ports.first(),
        text => ports.iter().find(|port| {
            str_at(port, &["name"]) == text
                || int_at(port, &["port"]).is_some_and(|number| number.to_string() == text)
        }),
    };
    let Some(wanted) = wanted else {
        let text = format!("no service port {:?} found for service {:?}", named.port, named.name);
        return Err(ApiError::unavailable(text));
    };
    let endpoints = GroupResource::new("", "endpoints");
    let endpoints = match api.get(&endpoints, namespace, named.name).await {
        Ok(endpoints) => endpoints,
        Err(error) if error.code() == 404 => return Err(unavailable("endpoints")),
        Err(error) => return Err(error),
    };
    let name = str_at(wanted, &["name"]);
    for subset in list_at(&endpoints, &["subsets"]) {
        let port = list_at(subset, &["ports"]).iter().find(|port| str_at(port, &["name"]) == name);
        let number =
            port.and_then(|port| int_at(port, &["port"])).and_then(|n| u16::try_from(n).ok());
        let addresses = list_at(subset, &["addresses"]);
        if let (Some(port), false) = (number, addresses.is_empty()) {
            let host = str_at(&addresses[spread(addresses.len())], &["ip"]).to_owned();
            return Ok(Target::Address { tls, host, port });
        }
    }
    Err(unavailable("endpoints"))
}

/// One of several, each in turn.
fn spread(count: usize) -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) % count
}

/// GET and HEAD of `…/proxy` go to `…/proxy/`, so that relative links work.
fn needs_slash(request: &HttpRequest, rest: &str) -> bool {
    let plain = matches!(*request.method(), Method::GET | Method::HEAD);
    let upgrade = request.headers().contains_key(header::UPGRADE);
    plain && !upgrade && rest.is_empty() && !request.uri().path().ends_with('/')
}

fn redirect(request: &HttpRequest) -> ApiResult<HttpResponse> {
    let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
    let location = format!("{}/{query}", request.uri().path());
    let mut response: HttpResponse = http::Response::new(Default::default());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let value = HeaderValue::from_str(&location).map_err(ApiError::internal)?;
    response.headers_mut().insert(header::LOCATION, value);
    Ok(response)
}

#[async_trait]
impl SubresourceHandler for Proxy {
    fn is_connect(&self) -> bool {
        true
    }

    fn connect_options(&self, _: &str, rest: &str) -> Option<Value> {
        Some(if rest.is_empty() { json!({}) } else { json!({ "path": inner_path(rest) }) })
    }

    async fn handle(
        &self,
        api: &dyn ObjectApi,
        request: SubresourceRequest,
    ) -> ApiResult<SubresourceAnswer> {
        let mut http = request.http;
        if needs_slash(&http, &request.rest) {
            return Ok(SubresourceAnswer::Http(redirect(&http)?));
        }
        let invalid = || ApiError::bad_request(format!("invalid name {:?}", request.name));
        let named = Named::parse(&request.name).ok_or_else(invalid)?;
        let target = self.target(api, &request.namespace, &named).await?;
        let outer = http.uri().path().to_owned();
        let prefix =
            outer.strip_suffix(&request.rest).unwrap_or(&outer).trim_end_matches('/').to_owned();
        let query = http.uri().query().map_or(String::new(), |query| format!("?{query}"));
        let inner = format!("{}{query}", inner_path(&request.rest));
        *http.uri_mut() = inner.parse().map_err(|_| invalid())?;
        forwarded(&mut http, &outer);
        let mut response = self.nodes.send(&target, http).await?;
        mend_location(&mut response, &target, &prefix);
        Ok(SubresourceAnswer::Http(response))
    }
}

/// What the backend is asked for. Of `…/proxy/` only a slash is left, and there is one root.
fn inner_path(rest: &str) -> String {
    format!("/{}", rest.trim_start_matches('/'))
}

fn forwarded(request: &mut HttpRequest, outer: &str) {
    let host = request.headers().get(header::HOST).cloned();
    let headers = request.headers_mut();
    if let Ok(value) = HeaderValue::from_str(outer) {
        headers.insert("x-forwarded-uri", value);
    }
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    // The caller's credentials are for this server only.
    headers.remove(header::AUTHORIZATION);
}

/// A redirect to the backend itself becomes one through the proxy.
fn mend_location(response: &mut HttpResponse, target: &Target, prefix: &str) {
    let Some(location) = response.headers().get(header::LOCATION) else { return };
    let Ok(location) = location.to_str() else { return };
    let (Target::Kubelet { host, port, .. } | Target::Address { host, port, .. }) = target;
    let path = if location.starts_with('/') && !location.starts_with("//") {
        Some(location)
    } else {
        let rest = location.split_once("://").map(|(_, rest)| rest);
        let (own, own_port) = (host.clone(), format!("{host}:{port}"));
        rest.and_then(|rest| {
            let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
            let path = &rest[authority.len()..];
            (authority == own || authority == own_port).then_some(path)
        })
    };
    if let Some(value) =
        path.and_then(|path| HeaderValue::from_str(&format!("{prefix}{path}")).ok())
    {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_the_backend() {
        for (rest, expected) in [("", "/"), ("/", "/"), ("x", "/x"), ("x%2Fy/", "/x%2Fy/")] {
            assert_eq!(inner_path(rest), expected, "{rest:?}");
        }
    }

    #[test]
    fn names_that_say_more() {
        let check = |text: &str, expected: Option<(&str, &str, &str)>| {
            let named = Named::parse(text);
            let found = named.as_ref().map(|named| (named.scheme, named.name, named.port));
            assert_eq!(found, expected, "{text}");
        };
        check("a", Some(("", "a", "")));
        check("a:80", Some(("", "a", "80")));
        check("https:a:443", Some(("https", "a", "443")));
        check("https:a:", Some(("https", "a", "")));
        check("http:a", Some(("http", "a", "")));
        check("ftp:a:1", None);
        check("a:b:c:d", None);
    }
}
