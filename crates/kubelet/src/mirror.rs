//! Shows in-process parts as mirror pods.

pub(crate) async fn run(
    _n: &crate::context::NodeContext,
    _w: &reconcile::Writer,
    _d: &base::drain::Drain,
) {
}
