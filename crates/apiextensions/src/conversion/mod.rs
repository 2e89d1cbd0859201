//! Objects from one version of a kind to another.
//!
//! Invariant: what comes out is pruned by the schema of the version that it is in now. Defaults are
//! not filled in here: they are those of the version in which an object was written or stored.

mod webhook;

use std::sync::Arc;

use ::webhook::Caller;
use api::Value;
use api::names::join_api_version;
use api::object::{api_version, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::resource::Converter;
use async_trait::async_trait;
use base::rng::SharedRng;

use crate::definition::Definition;

/// What a conversion may need.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) caller: Arc<Caller>,
    pub(crate) rng: SharedRng,
}

/// Who converts the objects of a definition.
pub(crate) fn converter(definition: Arc<Definition>, means: Means) -> Arc<dyn Converter> {
    Arc::new(Conversion { definition, means })
}

struct Conversion {
    definition: Arc<Definition>,
    means: Means,
}

#[async_trait]
impl Converter for Conversion {
    async fn convert(&self, objects: Vec<Value>, to_version: &str) -> ApiResult<Vec<Value>> {
        let wanted = join_api_version(&self.definition.group, to_version);
        let converted = if str_at(&self.definition.conversion, &["strategy"]) == "Webhook" {
            self.by_webhook(objects, &wanted).await?
        } else {
            objects.into_iter().map(|object| renamed(object, &wanted)).collect()
        };
        let version = self.definition.version(to_version);
        Ok(converted
            .into_iter()
            .map(|mut object| {
                if let Some(version) = version {
                    version.node.prune(&mut object);
                }
                object
            })
            .collect())
    }
}

/// Strategy `None`: the versions have the same fields.
fn renamed(mut object: Value, wanted: &str) -> Value {
    object["apiVersion"] = wanted.into();
    object
}

impl Conversion {
    /// Asks for those that are not in the version yet; all at once.
    async fn by_webhook(&self, objects: Vec<Value>, wanted: &str) -> ApiResult<Vec<Value>> {
        let foreign: Vec<&Value> =
            objects.iter().filter(|object| api_version(object) != wanted).collect();
        if foreign.is_empty() {
            return Ok(objects);
        }
        let uid = uuid::Builder::from_random_bytes(self.means.rng.bytes16()).into_uuid();
        let asked = webhook::Asked {
            config: &self.definition.conversion["webhook"],
            objects: &foreign,
            wanted,
            uid: &uid.to_string(),
        };
        let made = webhook::ask(&self.means.caller, &asked)
            .await
            .map_err(|why| ApiError::new(500, "InternalError", why))?;
        let mut made = made.into_iter();
        Ok(objects
            .iter()
            .map(|object| match api_version(object) == wanted {
                true => object.clone(),
                false => made.next().unwrap_or_default(),
            })
            .collect())
    }
}
