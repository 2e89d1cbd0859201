//! `pods/log`, `exec`, `attach`, `portforward`: checked here, done by the pod's kubelet.

use std::sync::Arc;

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::names::GroupResource;
use api::object::{list_at, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::resource::{ObjectApi, SubresourceAnswer, SubresourceHandler, SubresourceRequest};
use async_trait::async_trait;

use crate::core::node::kubelet_of;
use crate::deps::{Deps, NodeTransport};

/// What of a pod is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// The log of a container.
    Log,
    /// A new process in a container.
    Exec,
    /// The first process of a container.
    Attach,
    /// Ports of the pod.
    PortForward,
}

/// Connects to a pod through its kubelet.
pub(crate) struct Connect {
    nodes: Arc<dyn NodeTransport>,
    to: To,
}

impl Connect {
    pub(crate) fn new(deps: &Deps, to: To) -> Self {
        Self { nodes: Arc::clone(&deps.nodes), to }
    }
}

#[async_trait]
impl SubresourceHandler for Connect {
    fn is_connect(&self) -> bool {
        true
    }

    fn connect_options(&self, query: &str, _: &str) -> Option<Value> {
        options(self.to, &Query::parse(query))
    }

    async fn handle(
        &self,
        api: &dyn ObjectApi,
        request: SubresourceRequest,
    ) -> ApiResult<SubresourceAnswer> {
        let pods = GroupResource::new("", "pods");
        let pod = api.get(&pods, &request.namespace, &request.name).await?;
        let query = Query::parse(request.http.uri().query().unwrap_or_default());
        if self.to == To::Log {
            check_log(&request.name, &query)?;
        }
        if matches!(self.to, To::Exec | To::Attach) {
            check_streams(self.to, &query)?;
        }
        let container = match self.to {
            To::PortForward => None,
            _ => Some(container_of(&pod, query.get("container"))?),
        };
        let node = str_at(&pod, &["spec", "nodeName"]);
        if node.is_empty() {
            return not_scheduled(self.to, &request.name);
        }
        let target = kubelet_of(api, node).await?;
        let path = self.path(&request, &pod, container.as_deref(), &query);
        let mut http = request.http;
        *http.uri_mut() = path
            .parse()
            .map_err(|error| ApiError::bad_request(format!("the request's path: {error}")))?;
        Ok(SubresourceAnswer::Http(self.nodes.send(&target, http).await?))
    }
}

/// A pod without a node has no log yet, and nothing to connect to.
fn not_scheduled(to: To, name: &str) -> ApiResult<SubresourceAnswer> {
    match to {
        // Upstream answers an empty log.
        To::Log => Ok(SubresourceAnswer::Http(http::Response::new(Default::default()))),
        _ => Err(ApiError::bad_request(format!("pod {name} does not have a host assigned"))),
    }
}

/// The query parameters, decoded, in order.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(known, _)| known == key).map_or("", |(_, value)| value)
    }

    fn all<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    fn is_true(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1" | "True" | "t" | "T" | "TRUE")
    }

    fn encode(&self, keep: &[&str], rename: &[(&str, &str)]) -> String {
        let mut parts = Vec::new();
        for (key, value) in &self.0 {
            let renamed = rename.iter().find(|(from, _)| from == key).map(|(_, to)| *to);
            if renamed.is_none() && !keep.contains(&key.as_str()) {
                continue;
            }
            parts.push(format!("{}={}", renamed.unwrap_or(key), encode(value)));
        }
        parts.join("&")
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = || std::str::from_utf8(bytes.get(index + 1..index + 3)?).ok();
        match bytes[index] {
            b'+' => out.push(b' '),
            b'%' => match hex().and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(byte) => {
                    out.push(byte);
                    index += 2;
                }
                None => out.push(b'%'),
            },
            byte => out.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Connect {
    /// The kubelet's path for this.
    fn path(
        &self,
        request: &SubresourceRequest,
        pod: &Value,
        container: Option<&str>,
        query: &Query,
    ) -> String {
        let (namespace, name) = (&request.namespace, &request.name);
        let uid = api::object::uid(pod);
        let container = container.unwrap_or_default();
        let (path, query) = match self.to {
            To::Log => {
                let keep = [
                    "follow",
                    "previous",
                    "sinceSeconds",
                    "sinceTime",
                    "timestamps",
                    "tailLines",
                    "limitBytes",
                    "stream",
                    "insecureSkipTLSVerifyBackend",
                ];
                (format!("/containerLogs/{namespace}/{name}/{container}"), query.encode(&keep, &[]))
            }
            To::Exec | To::Attach => {
                let verb = if self.to == To::Exec { "exec" } else { "attach" };
                let streams = [("stdin", "input"), ("stdout", "output"), ("stderr", "error")];
                let keep: &[&str] = if self.to == To::Exec { &["command"] } else { &[] };
                let mut all = streams.to_vec();
                all.push(("tty", "tty"));
                let query = flags(query, keep, &all);
                (format!("/{verb}/{namespace}/{name}/{uid}/{container}"), query)
            }
            To::PortForward => {
                let rename = [("ports", "port")];
                (format!("/portForward/{namespace}/{name}/{uid}"), query.encode(&[], &rename))
            }
        };
        if query.is_empty() { path } else { format!("{path}?{query}") }
    }
}

/// What exec, attach and port-forward are admitted by, as Go prints it. Output and errors are
/// always wanted: that is the default of both, set after the query was read. (core/v1
/// `SetDefaults_PodExecOptions`)
fn options(to: To, query: &Query) -> Option<Value> {
    let mut options = serde_json::Map::new();
    match to {
        To::Log => return None,
        To::PortForward => {
            let ports: Vec<i32> = query.all("ports").filter_map(|text| text.parse().ok()).collect();
            if !ports.is_empty() {
                options.insert("ports".to_owned(), ports.into());
            }
            return Some(options.into());
        }
        To::Attach => {}
        To::Exec => {
            let command: Vec<&str> = query.all("command").collect();
            options.insert("command".to_owned(), command.into());
        }
    }
    for flag in ["stdin", "tty"] {
        if query.is_true(flag) {
            options.insert(flag.to_owned(), true.into());
        }
    }
    for flag in ["stdout", "stderr"] {
        options.insert(flag.to_owned(), true.into());
    }
    if !query.get("container").is_empty() {
        options.insert("container".to_owned(), query.get("container").into());
    }
    Some(options.into())
}

/// The flags of exec and attach, in the kubelet's names: `1` when true, left out when false.
fn flags(query: &Query, keep: &[&str], flags: &[(&str, &str)]) -> String {
    let mut parts: Vec<String> = flags
        .iter()
        .filter(|(name, _)| query.is_true(name))
        .map(|(_, kubelets)| format!("{kubelets}=1"))
        .collect();
    let rest = query.encode(keep, &[]);
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts.join("&")
}

/// The container that is meant: the named one, the annotated one, or the only one.
fn container_of(pod: &Value, asked: &str) -> ApiResult<String> {
    let pod_name = api::object::name(pod);
    let names = |list: &str| -> Vec<String> {
        list_at(pod, &["spec", list]).iter().map(|one| str_at(one, &["name"]).to_owned()).collect()
    };
    let (containers, init, ephemeral) =
        (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if !asked.is_empty() {
        let known =
            [&containers, &init, &ephemeral].iter().any(|list| list.iter().any(|n| n == asked));
        let unknown =
            || ApiError::bad_request(format!("container {asked} is not valid for pod {pod_name}"));
        return known.then(|| asked.to_owned()).ok_or_else(unknown);
    }
    let annotated = api::object::annotation(pod, "kubectl.kubernetes.io/default-container");
    if let Some(name) = annotated.filter(|name| containers.iter().any(|known| known == name)) {
        return Ok(name.to_owned());
    }
    match containers.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {pod_name}"
        ))),
        many => {
            let mut text = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                many.join(" ")
            );
            if !init.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            if !ephemeral.is_empty() {
                text.push_str(&format!(
                    " or one of the ephemeral containers: [{}]",
                    ephemeral.join(" ")
                ));
            }
            Err(ApiError::bad_request(text))
        }
    }
}

fn check_streams(to: To, query: &Query) -> ApiResult<()> {
    let streams = ["stdin", "stdout", "stderr"].iter().any(|stream| query.is_true(stream));
    if !streams {
        let text = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(ApiError::bad_request(text));
    }
    if to == To::Exec && !query.0.iter().any(|(key, _)| key == "command") {
        return Err(ApiError::bad_request("you must specify at least 1 command for the container"));
    }
    Ok(())
}

fn check_log(name: &str, query: &Query) -> ApiResult<()> {
    let mut errors = ErrorList::new();
    let number = |key: &str| query.get(key).parse::<i64>().ok();
    let lowest = |key: &str, low: i64, text: &str, errors: &mut ErrorList| {
        if let Some(value) = number(key).filter(|value| *value < low) {
            errors.push(FieldError::invalid(Path::new(key), value, text));
        }
    };
    lowest("tailLines", 0, "must be greater than or equal to 0", &mut errors);
    lowest("limitBytes", 1, "must be greater than 0", &mut errors);
    let (seconds, time) = (query.get("sinceSeconds"), query.get("sinceTime"));
    if !seconds.is_empty() && !time.is_empty() {
        let text = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden(Path::root(), text));
    } else {
        lowest("sinceSeconds", 1, "must be greater than 0", &mut errors);
    }
    ApiError::check("", "PodLogOptions", name, &errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn queries_survive() {
        let query =
            Query::parse("command=sh&command=-c&command=echo+%22a%26b%22&stdout=true&tty=0");
        assert_eq!(query.get("stdout"), "true");
        assert_eq!(
            flags(&query, &["command"], &[("stdout", "output"), ("tty", "tty")]),
            "output=1&command=sh&command=-c&command=echo%20%22a%26b%22"
        );
    }

    #[test]
    fn connections_are_admitted_by_their_options() {
        let query = Query::parse("command=sh&command=-c&stdin=true&tty=0&container=a&ports=80&x=1");
        assert_eq!(
            options(To::Exec, &query).unwrap(),
            json!({"command": ["sh", "-c"], "stdin": true, "stdout": true, "stderr": true,
                "container": "a"})
        );
        assert_eq!(options(To::PortForward, &query).unwrap(), json!({"ports": [80]}));
        assert_eq!(options(To::Log, &query), None);
    }

    #[test]
    fn the_container_that_is_meant() {
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container_of(&one, "").unwrap(), "a");
        assert_eq!(
            container_of(&one, "b").unwrap_err().to_string(),
            "container b is not valid for pod p"
        );
        let two = json!({"metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(
            container_of(&two, "").unwrap_err().to_string(),
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
    }

    #[test]
    fn log_options() {
        for (query, expected) in [
            ("tailLines=-1", "tailLines: Invalid value: -1"),
            ("limitBytes=0", "limitBytes: Invalid value: 0"),
            ("sinceSeconds=0", "sinceSeconds: Invalid value: 0"),
            ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", "Forbidden: at most one of"),
        ] {
            let error = check_log("p", &Query::parse(query)).unwrap_err();
            assert_eq!(error.code(), 422);
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(check_log("p", &Query::parse("tailLines=0&follow=true")).is_ok());
    }
}
