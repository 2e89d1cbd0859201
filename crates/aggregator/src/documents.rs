//! What other servers say of themselves, remembered: discovery and OpenAPI.
//!
//! Nothing is asked before somebody wants to know, and then at most once a minute, as upstream
//! does; a server that comes back is asked at once. What a server said stays when it goes down,
//! marked as stale.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apiserver::aggregation::{RemoteDocument, RemoteVersion, ServedVersion, ServedVersions};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::client::{Clients, RemoteError};
use crate::discovery::{self, Discovered};
use crate::openapi::{self, Specs};
use crate::table::{Server, Table, Versions};

/// How long a document counts as new. (aggregator's `discoveryManager`, a minute)
const FRESH: Duration = Duration::from_secs(60);
/// How long a server is left alone that did not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A document, and when it was asked for.
pub(crate) struct Kept<T> {
    /// When it has to be asked for again.
    due: Option<Instant>,
    /// Whether the last attempt failed, or the server is known to be down.
    is_stale: bool,
    value: T,
}

impl<T: Default> Default for Kept<T> {
    fn default() -> Self {
        Self { due: None, is_stale: true, value: T::default() }
    }
}

/// What one server said. Each is behind a lock of its own that is held while it is asked, so that
/// a hundred callers ask once.
#[derive(Default)]
struct Known {
    discovery: tokio::sync::Mutex<Kept<Discovered>>,
    openapi_v2: tokio::sync::Mutex<Kept<Specs>>,
    openapi_v3: tokio::sync::Mutex<Kept<Specs>>,
}

/// What other servers said.
#[derive(Default)]
pub(crate) struct Documents {
    known: Mutex<BTreeMap<Server, Arc<Known>>>,
    versions: Mutex<Arc<ServedVersions>>,
}

impl<T> Kept<T> {
    /// Whether it is time to ask again. A server that is down is not asked; when it comes back it
    /// is asked at once.
    fn must_ask(&mut self, is_available: bool, now: Instant) -> bool {
        if !is_available {
            (self.is_stale, self.due) = (true, None);
            return false;
        }
        self.due.is_none_or(|due| now >= due)
    }

    fn answered(&mut self, server: &Server, answer: Result<(), RemoteError>) {
        let wait = match &answer {
            Ok(()) => FRESH,
            Err(error) => {
                let Server { namespace, name, .. } = server;
                tracing::debug!(%error, "service {namespace}/{name} gave no document");
                PATIENCE
            }
        };
        self.is_stale = answer.is_err();
        self.due = Some(Instant::now() + wait);
    }
}

impl Documents {
    /// The servers of a table with what they said; the others are forgotten.
    fn known(&self, servers: &BTreeMap<Server, Versions>) -> Vec<Arc<Known>> {
        let mut known = self.known.lock();
        known.retain(|server, _| servers.contains_key(server));
        servers.keys().map(|server| known.entry(server.clone()).or_default().clone()).collect()
    }

    /// All versions of the table.
    pub(crate) async fn versions(&self, clients: &Clients, table: &Table) -> Arc<ServedVersions> {
        let servers = table.servers();
        let known = self.known(&servers);
        let asked = servers.iter().zip(&known).map(|((server, versions), known)| async move {
            let mut kept = known.discovery.lock().await;
            if kept.must_ask(versions.is_available, Instant::now()) {
                let answer = discovery::ask(clients, server, versions, &mut kept.value).await;
                kept.answered(server, answer);
            }
            (server, (kept.value.resources.clone(), kept.is_stale))
        });
        let said: BTreeMap<_, _> = futures::future::join_all(asked).await.into_iter().collect();
        let all = table.rows.iter().map(|row| ServedVersion {
            group: row.group.clone(),
            version: row.version.clone(),
            priority: row.priority,
            remote: row.remote.as_ref().map(|remote| {
                let said = said.get(&remote.server);
                let key = (row.group.clone(), row.version.clone());
                let resources = said.and_then(|(resources, _)| resources.get(&key)).cloned();
                let is_stale = resources.is_none()
                    || !remote.is_available
                    || said.is_none_or(|(_, is_stale)| *is_stale);
                RemoteVersion { resources: resources.unwrap_or_default(), is_stale }
            }),
        });
        self.note(all.collect())
    }

    /// The versions with a generation: the one before, when nothing has changed.
    fn note(&self, all: Vec<ServedVersion>) -> Arc<ServedVersions> {
        let mut last = self.versions.lock();
        if last.all != all {
            *last = Arc::new(ServedVersions { generation: last.generation + 1, all });
        }
        last.clone()
    }

    /// The v2 documents.
    pub(crate) async fn openapi_v2(&self, clients: &Clients, table: &Table) -> Vec<RemoteDocument> {
        let servers = table.servers();
        let known = self.known(&servers);
        let asked = servers.iter().zip(&known).map(|((server, versions), known)| async move {
            let mut kept = known.openapi_v2.lock().await;
            if kept.must_ask(versions.is_available, Instant::now()) {
                let answer = openapi::ask_v2(clients, server, versions, &mut kept.value).await;
                kept.answered(server, answer);
            }
            kept.value.documents()
        });
        futures::future::join_all(asked).await.concat()
    }

    /// The v3 documents.
    pub(crate) async fn openapi_v3(&self, clients: &Clients, table: &Table) -> Vec<RemoteDocument> {
        let servers = table.servers();
        let known = self.known(&servers);
        let asked = servers.iter().zip(&known).map(|((server, versions), known)| async move {
            let mut kept = known.openapi_v3.lock().await;
            if kept.must_ask(versions.is_available, Instant::now()) {
                let answer = openapi::ask_v3(clients, server, versions, &mut kept.value).await;
                kept.answered(server, answer);
            }
            kept.value.documents()
        });
        futures::future::join_all(asked).await.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_is_asked_once_a_minute_and_when_it_comes_back() {
        let server = Server {
            namespace: "n".into(),
            name: "s".into(),
            port: 443,
            ca_bundle: Vec::new(),
            is_insecure: false,
        };
        let mut kept: Kept<()> = Kept::default();
        let must_ask =
            |kept: &mut Kept<()>, available: bool| kept.must_ask(available, Instant::now());
        assert!(must_ask(&mut kept, true));
        kept.answered(&server, Ok(()));
        assert!(!must_ask(&mut kept, true) && !kept.is_stale);
        tokio::time::advance(FRESH).await;
        assert!(must_ask(&mut kept, true));
        kept.answered(&server, Err(RemoteError::Late));
        assert!(!must_ask(&mut kept, true) && kept.is_stale);
        tokio::time::advance(PATIENCE).await;
        assert!(must_ask(&mut kept, true));
        kept.answered(&server, Ok(()));
        assert!(!must_ask(&mut kept, false) && kept.is_stale);
        assert!(must_ask(&mut kept, true));
    }
}
