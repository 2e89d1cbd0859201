//! The kubelet's HTTPS server.

pub(crate) async fn run(
    _n: &crate::context::NodeContext,
    _x: &crate::dispatch::Dispatch,
    _d: &base::drain::Drain,
) {
}
