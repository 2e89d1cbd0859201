//! What controllers are made from.

use std::sync::Arc;

use reconcile::Caches;

use crate::options::ControllersOptions;

/// What a controller may hold on to when it is made.
#[derive(Clone)]
pub struct Deps {
    /// The caches of the process.
    pub caches: Caches,
    /// The options of all controllers.
    pub options: Arc<ControllersOptions>,
}
