//! What several controllers share: ownership, pods, selectors, revisions. Pure, but for `claim`.

pub(crate) mod batch;
pub(crate) mod claim;
pub(crate) mod hash;
pub(crate) mod history;
pub(crate) mod intstr;
pub(crate) mod node_fit;
pub(crate) mod owner;
pub(crate) mod pods;
pub(crate) mod selector;
pub(crate) mod watch;
