//! Objects that tell the server what to do, in the form in which they are used.
//!
//! They are read from the watch cache at every request, so a change counts at once, and made ready
//! once for each of their versions.

use std::collections::HashMap;
use std::sync::Arc;

use api::Value;
use api::names::GroupResource;
use api::object::{name, str_at};
use api::status::ApiResult;
use apiserver::resource::ObjectApi;
use parking_lot::Mutex;

/// The objects of one resource, each made ready by a function.
pub(crate) struct Compiled<T> {
    resource: GroupResource,
    compile: fn(&Value) -> T,
    known: Mutex<HashMap<String, Known<T>>>,
}

struct Known<T> {
    version: String,
    ready: Arc<T>,
}

impl<T> Compiled<T> {
    pub(crate) fn new(group: &str, plural: &str, compile: fn(&Value) -> T) -> Self {
        Self { resource: GroupResource::new(group, plural), compile, known: Mutex::default() }
    }

    /// All of them, by name.
    pub(crate) async fn all(&self, api: &dyn ObjectApi) -> ApiResult<Vec<Arc<T>>> {
        let objects = match api.list(&self.resource, "").await {
            Ok(objects) => objects,
            // A server that does not know the kind has none of it.
            Err(error) if error.code() == 404 => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut known = self.known.lock();
        if known.len() > objects.len() {
            known.retain(|key, _| objects.iter().any(|object| name(object) == key));
        }
        Ok(objects.iter().map(|object| self.ready(&mut known, object)).collect())
    }

    fn ready(&self, known: &mut HashMap<String, Known<T>>, object: &Value) -> Arc<T> {
        let version = str_at(object, &["metadata", "resourceVersion"]);
        if let Some(found) = known.get(name(object)).filter(|found| found.version == version) {
            return found.ready.clone();
        }
        let ready = Arc::new((self.compile)(object));
        let entry = Known { version: version.to_owned(), ready: ready.clone() };
        known.insert(name(object).to_owned(), entry);
        ready
    }
}
