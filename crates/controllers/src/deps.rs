//! What controllers are made from.

use std::sync::Arc;

use reconcile::Caches;

use crate::cluster::garbage::Inventory;
use crate::options::ControllersOptions;

/// What a controller may hold on to when it is made.
#[derive(Clone)]
pub struct Deps {
    /// The caches of the process.
    pub caches: Caches,
    /// The options of all controllers.
    pub options: Arc<ControllersOptions>,
    /// The metadata of every object there is, for those who look at all resources.
    pub(crate) inventory: Arc<Inventory>,
}

impl Deps {
    /// What controllers are made from, over the caches of a process.
    #[must_use]
    pub fn new(caches: Caches, options: ControllersOptions) -> Self {
        let inventory = Arc::new(Inventory::new(caches.clone()));
        Self { caches, options: Arc::new(options), inventory }
    }
}
