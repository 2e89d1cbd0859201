//! The parts of the control plane that run in this process, as the node shows them: mirror pods
//! with the part's own readiness and log lines.

use base::readiness::Readiness;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use kubelet::{InProcessPart, PartLog};

use super::Process;
use super::control_plane::{CONTROLLERS_PART, SCHEDULER_PART};
use super::node::PROXY_PART;
use crate::logs::Rings;

/// The flag that turns a part off, and the part's name as learners know it.
pub(crate) const SHOWN: &[(&str, &str)] = &[
    ("apiserver", "kube-apiserver"),
    ("controllers", "kube-controller-manager"),
    ("scheduler", "kube-scheduler"),
    ("proxy", "kube-proxy"),
];

/// A part.
#[derive(Debug)]
pub(crate) struct Part {
    name: &'static str,
    readiness: Readiness,
    rings: Rings,
}

impl Part {
    pub(crate) fn new(name: &'static str, process: &Process) -> Self {
        Self { name, readiness: process.readiness.clone(), rings: process.rings.clone() }
    }

    /// The names under which the process reports this part's readiness.
    fn reports(&self) -> &'static [&'static str] {
        match self.name {
            "kube-apiserver" => &["informer-sync", "poststarthook/bootstrap"],
            "kube-scheduler" => &[SCHEDULER_PART],
            "kube-controller-manager" => &[CONTROLLERS_PART],
            "kube-proxy" => &[PROXY_PART],
            _ => &[],
        }
    }
}

impl InProcessPart for Part {
    fn name(&self) -> &str {
        self.name
    }

    fn ready(&self) -> Result<(), String> {
        for (name, state) in self.readiness.report() {
            if self.reports().contains(&name.as_str()) {
                state?;
            }
        }
        Ok(())
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut changes = self.readiness.changes();
        Box::pin(async move {
            // The readiness lives as long as the process.
            let _ = changes.changed().await;
        })
    }

    fn logs(&self, follow: bool) -> BoxStream<'static, PartLog> {
        let (lines, written) = self.rings.since(self.name, 0);
        let entry = |(at, line)| PartLog { at, line };
        let kept = stream::iter(lines).map(entry);
        let Some(changes) = self.rings.follow(self.name).filter(|_| follow) else {
            return kept.boxed();
        };
        let (rings, name) = (self.rings.clone(), self.name);
        let new = stream::unfold((changes, written), move |(mut changes, seen)| {
            let rings = rings.clone();
            async move {
                changes.wait_for(|written| *written > seen).await.ok()?;
                let (lines, written) = rings.since(name, seen);
                Some((stream::iter(lines), (changes, written)))
            }
        });
        kept.chain(new.flatten().map(entry)).boxed()
    }
}
