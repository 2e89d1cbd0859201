//! OpenAPI of other servers: one v2 document a server, one v3 document a version.

use api::Value;
use apiserver::aggregation::RemoteDocument;
use bytes::Bytes;

use crate::client::{Clients, Fetched, RemoteError};
use crate::table::{Server, Versions};

/// The documents of a server.
#[derive(Default)]
pub(crate) struct Specs(Vec<Spec>);

/// A document with the versions that it was made for.
struct Spec {
    document: RemoteDocument,
    tag: Option<String>,
    versions: Vec<(String, String)>,
}

impl Specs {
    pub(crate) fn documents(&self) -> Vec<RemoteDocument> {
        self.0.iter().map(|spec| spec.document.clone()).collect()
    }

    fn tag_of(&self, path: &str, versions: &[(String, String)]) -> Option<String> {
        let is_it = |spec: &&Spec| spec.document.path == path && spec.versions == versions;
        self.0.iter().find(is_it)?.tag.clone()
    }

    fn put(&mut self, spec: Spec) {
        self.0.retain(|known| known.document.path != spec.document.path);
        self.0.push(spec);
    }
}

/// Asks for the v2 document, and cuts it down to the versions that the server answers for.
pub(crate) async fn ask_v2(
    clients: &Clients,
    server: &Server,
    versions: &Versions,
    known: &mut Specs,
) -> Result<(), RemoteError> {
    let tag = known.tag_of("", &versions.all);
    let fetched = clients.document(server, "/openapi/v2", "application/json", tag.as_deref()).await;
    let (tag, body) = match fetched {
        Ok(Fetched::Unchanged) => return Ok(()),
        Ok(Fetched::New { headers, body }) => (
            headers.get(http::header::ETAG).and_then(|tag| Some(tag.to_str().ok()?.to_owned())),
            body,
        ),
        // It publishes none; that is allowed.
        Err(RemoteError::Status(404)) => {
            known.0.clear();
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let unreadable =
        |error: serde_json::Error| RemoteError::Unreachable(format!("/openapi/v2: {error}"));
    let mut document: Value = serde_json::from_slice(&body).map_err(unreadable)?;
    let prefixes: Vec<String> = versions
        .all
        .iter()
        .map(|(group, version)| match group.as_str() {
            "" => format!("/api/{version}/"),
            group => format!("/apis/{group}/{version}/"),
        })
        .collect();
    api::openapi::only_below(&mut document, &prefixes);
    let json = Bytes::from(serde_json::to_vec(&document).map_err(unreadable)?);
    let document = RemoteDocument { path: String::new(), hash: hash_of(&json), json };
    known.put(Spec { document, tag, versions: versions.all.clone() });
    Ok(())
}

/// Asks for the index and for the documents of the versions that the server answers for.
pub(crate) async fn ask_v3(
    clients: &Clients,
    server: &Server,
    versions: &Versions,
    known: &mut Specs,
) -> Result<(), RemoteError> {
    let index = match clients.document(server, "/openapi/v3", "application/json", None).await {
        Ok(Fetched::New { body, .. }) => body,
        Ok(Fetched::Unchanged) => return Ok(()),
        Err(RemoteError::Status(404)) => {
            known.0.clear();
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let index: Value = serde_json::from_slice(&index)
        .map_err(|error| RemoteError::Unreachable(format!("/openapi/v3: {error}")))?;
    let mut wanted = Vec::new();
    for (group, version) in &versions.all {
        let path = format!("apis/{group}/{version}");
        let Some(url) = index["paths"][&path]["serverRelativeURL"].as_str() else { continue };
        wanted.push(path.clone());
        let hash = url.split_once("hash=").map(|(_, hash)| hash.split('&').next().unwrap_or(hash));
        let is_known = |spec: &Spec| {
            spec.document.path == path && hash.is_some_and(|hash| spec.document.hash == hash)
        };
        if known.0.iter().any(is_known) {
            continue;
        }
        let fetched = clients.document(server, url, "application/json", None).await?;
        if let Fetched::New { body, .. } = fetched {
            let hash = hash.map_or_else(|| hash_of(&body), str::to_owned);
            let document = RemoteDocument { path, hash, json: body };
            known.put(Spec { document, tag: None, versions: Vec::new() });
        }
    }
    known.0.retain(|spec| wanted.contains(&spec.document.path));
    Ok(())
}

/// Tells one state of a document from another.
fn hash_of(bytes: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{:016X}", hasher.finish())
}
