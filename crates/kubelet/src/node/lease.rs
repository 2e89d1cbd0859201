//! The node's lease: its sign of life, every 10 s, good for 40 s.

use std::time::Duration;

use base::clock::Timestamp;
use base::drain::Drain;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use reconcile::{Failure, Key, Writer};

use crate::context::NodeContext;

/// Where nodes' leases are.
pub(crate) const NAMESPACE: &str = "kube-node-lease";
const RENEW: Duration = Duration::from_secs(10);
const HOLD_SECONDS: i32 = 40;
const RETRY: Duration = Duration::from_secs(1);

/// Renews the lease until the drain fires.
pub(crate) async fn run(node: &NodeContext, writer: &Writer, drain: &Drain) {
    let mut last: Option<Lease> = None;
    loop {
        let wait = match renew(node, writer, last.take()).await {
            Ok(lease) => {
                // The node may not have been seen yet; whose the lease is does not wait for long.
                let wait = if is_owned(&lease) { RENEW } else { RETRY };
                last = Some(lease);
                wait
            }
            Err(failure) => {
                tracing::debug!(%failure, "the node's lease was not renewed, trying again");
                RETRY
            }
        };
        tokio::select! {
            () = drain.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One renewal, on the lease that the last one answered.
async fn renew(node: &NodeContext, writer: &Writer, last: Option<Lease>) -> Result<Lease, Failure> {
    let name = &node.options.node_name;
    let now = node.clock.now();
    if let Some(mut lease) = last {
        set(&mut lease, name, now);
        own(&mut lease, node);
        match writer.update(&lease).await {
            Err(failure) if failure.is_conflict() || failure.is_not_found() => {}
            other => return other,
        }
    }
    match reconcile::or_gone(writer.get::<Lease>(&Key::new(NAMESPACE, name)).await)? {
        Some(mut lease) => {
            set(&mut lease, name, now);
            own(&mut lease, node);
            writer.update(&lease).await
        }
        None => {
            let mut lease = Lease::default();
            lease.metadata.name = Some(name.clone());
            lease.metadata.namespace = Some(NAMESPACE.to_owned());
            set(&mut lease, name, now);
            own(&mut lease, node);
            writer.create(&lease).await
        }
    }
}

fn set(lease: &mut Lease, holder: &str, now: Timestamp) {
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    spec.holder_identity = Some(holder.to_owned());
    spec.lease_duration_seconds = Some(HOLD_SECONDS);
    spec.renew_time = Some(MicroTime(now));
}

fn is_owned(lease: &Lease) -> bool {
    lease.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
}

/// The lease goes with its node.
fn own(lease: &mut Lease, node: &NodeContext) {
    if is_owned(lease) {
        return;
    }
    let object = node.objects.nodes.get("", &node.options.node_name);
    if let Some(uid) = object.and_then(|node| node.metadata.uid.clone()) {
        lease.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: node.options.node_name.clone(),
            uid,
            ..OwnerReference::default()
        }]);
    }
}
