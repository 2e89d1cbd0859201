//! The node authorizer: `auth::node` with a graph that follows what is stored.

use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use api::k8s_openapi::api::resource::v1::ResourceSlice;
use api::k8s_openapi::api::storage::v1::VolumeAttachment;
use apiserver::authz::Authorizer;
use async_trait::async_trait;
use auth::node::{Graph, Thing, decide};
use auth::rbac::{Rule, rules_of};
use auth::{Attributes, Decision, Target, groups, users};
use parking_lot::RwLock;
use reconcile::{Cache, Caches, Event};

/// What kubelets may do.
pub struct NodeAuthorizer {
    rules: Vec<Rule>,
    graph: Arc<RwLock<Graph>>,
    /// Asked whether everything is known, before a node is told that something is not its own.
    pods: std::sync::OnceLock<Cache<Pod>>,
}

impl Default for NodeAuthorizer {
    fn default() -> Self {
        let roles = auth::bootstrap::roles();
        let own = roles.iter().find(|role| role["metadata"]["name"] == "system:node");
        Self {
            rules: own.map(rules_of).unwrap_or_default(),
            graph: Arc::default(),
            pods: std::sync::OnceLock::new(),
        }
    }
}

impl NodeAuthorizer {
    /// Begins to follow pods and what belongs to nodes.
    pub fn follow(&self, caches: &Caches) {
        let graph = self.graph.clone();
        let pods = caches.of::<Pod>();
        pods.subscribe(move |event| match event {
            Event::Added(new) => graph.write().pod(None, Some(&new)),
            Event::Updated { old, new } => graph.write().pod(Some(&old), Some(&new)),
            Event::Deleted(old) => graph.write().pod(Some(&old), None),
        });
        let _ = self.pods.set(pods);
        let graph = self.graph.clone();
        caches.of::<PersistentVolume>().subscribe(move |event| {
            let name = event.object().metadata.name.as_deref().unwrap_or_default();
            let gone = matches!(event, Event::Deleted(_));
            graph.write().volume(name, (!gone).then_some(&**event.object()));
        });
        let graph = self.graph.clone();
        caches.of::<VolumeAttachment>().subscribe(move |event| {
            let attachment = event.object();
            let node =
                (!matches!(event, Event::Deleted(_))).then_some(attachment.spec.node_name.as_str());
            let name = attachment.metadata.name.as_deref().unwrap_or_default();
            graph.write().owned(Thing::Attachment, "", name, node);
        });
        let graph = self.graph.clone();
        caches.of::<ResourceSlice>().subscribe(move |event| {
            let slice = event.object();
            let node = slice.spec.node_name.as_deref();
            let node = node.filter(|_| !matches!(event, Event::Deleted(_)));
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            graph.write().owned(Thing::Slice, "", name, node);
        });
    }
}

#[async_trait]
impl Authorizer for NodeAuthorizer {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let user = &attributes.user;
        if !user.is_in(groups::NODES) {
            return Decision::NoOpinion(String::new());
        }
        let Some(node) = user.username.strip_prefix(users::NODE_PREFIX).filter(|n| !n.is_empty())
        else {
            // Somebody who is in the nodes' group without being one.
            return Decision::NoOpinion(format!("unknown node for user {:?}", user.username));
        };
        let Target::Resource(wanted) = &attributes.target else {
            return Decision::NoOpinion(String::new());
        };
        if let Some(pods) = self.pods.get() {
            pods.synced().await;
        }
        decide(&self.graph.read(), &self.rules, node, wanted)
    }
}
