//! get and list.

use api::object;
use api::status::{ApiError, ApiResult};
use axum::response::Response;

use super::Target;
use super::options::ListOptions;
use crate::negotiate::Format;
use crate::registry::Entry;
use crate::render::Renderer;
use crate::response;
use crate::storage::Stored;
use crate::storage::list::{ListRequest, Version};
use crate::storage::selection::Selection;

impl Target {
    /// How objects are shown to this client.
    pub(super) fn renderer(&self) -> Renderer<'_> {
        let now = self.call.core.clock.now();
        Renderer::new(&self.entry, &self.call.info.version, self.output, now)
    }

    pub(super) async fn get(&self) -> ApiResult<Response> {
        let options = ListOptions::of(&self.call.query, false)?;
        let found = self.find(options.list_version()).await?;
        self.check_shape(false)?;
        let body = self.renderer().stored(&found)?;
        Ok(self.finish(200, body))
    }

    /// The object that the path names.
    pub(super) async fn find(&self, version: Version) -> ApiResult<std::sync::Arc<Stored>> {
        let core = &self.call.core;
        let entry: &Entry = &self.entry;
        let name = &self.call.info.name;
        let key = entry.key(self.namespace(), name);
        let cached = match version {
            Version::Newest | Version::Exact(_) => None,
            Version::Any => entry.cacher.get_settled(&key),
            Version::NotOlderThan(rv) => {
                core.storage.fresh(rv).await?;
                entry.cacher.get(&key)
            }
        };
        let found = match cached {
            Some(found) => Some(found),
            None => core.storage.read(&entry.cacher, &key).await?,
        };
        entry.shown_one(found.ok_or_else(|| ApiError::not_found(&entry.gr, name))?).await
    }

    /// What the request's selectors allow.
    pub(super) fn selection(&self) -> ApiResult<Selection> {
        let query = &self.call.query;
        Selection::parse(
            &*self.entry.resource,
            query.text("labelSelector"),
            query.text("fieldSelector"),
        )
    }

    pub(super) async fn list(&self) -> ApiResult<Response> {
        let options = ListOptions::of(&self.call.query, false)?;
        let selection = self.selection()?;
        let request = ListRequest {
            namespace: self.namespace(),
            limit: options.limit,
            continue_token: self.call.query.text("continue"),
            version: options.list_version(),
        };
        let page = self.call.core.storage.list(&self.entry, &selection, request).await?;
        self.check_shape(true)?;
        let body = self.renderer().list(&page)?;
        Ok(self.finish(200, body))
    }

    /// Answers of kinds that are computed.
    pub(super) async fn virtual_verb(
        &self,
        handler: &dyn crate::resource::VirtualResource,
        body: axum::body::Body,
    ) -> ApiResult<Response> {
        let core = &*self.call.core;
        let namespace = self.namespace();
        let (code, bytes) = match self.call.info.verb {
            "create" => {
                let decoded = self.decode_body(body).await?;
                let manager = self.call.manager();
                let object =
                    self.op(None, &manager, false, "CreateOptions").storage_form(decoded.value)?;
                let made = handler.create(core, &self.call.user, namespace, object).await?;
                (201, self.renderer().value(made)?)
            }
            "list" => {
                let selection = self.selection()?;
                let mut all = handler.list(core, namespace).await?;
                all.retain(|one| selection.matches_value(&*self.entry.resource, one));
                (200, self.renderer().list_values(all)?)
            }
            "get" => {
                let name = &self.call.info.name;
                let all = handler.list(core, namespace).await?;
                let found = all.into_iter().find(|one| object::name(one) == name);
                let found = found.ok_or_else(|| ApiError::not_found(&self.entry.gr, name))?;
                (200, self.renderer().value(found)?)
            }
            _ => return Err(ApiError::method_not_allowed()),
        };
        Ok(self.finish(code, bytes))
    }

    /// An answer with its media type and the version's warning.
    pub(super) fn finish(&self, code: u16, body: Vec<u8>) -> Response {
        let content_type = self.output.format.media_type();
        let mut answer = if self.output.format == Format::Json && self.call.info.verb == "delete" {
            response::json(code, body)
        } else {
            response::maybe_compressed(&self.call.parts.headers, code, content_type, body)
        };
        self.warn_of_version(&mut answer);
        answer
    }

    /// Tells the users of a deprecated or removed version what it is.
    pub(super) fn warn_of_version(&self, answer: &mut Response) {
        if let Some(warning) = self.entry.deprecation_warning(&self.call.info.version) {
            response::add_warnings(answer, &[warning.to_owned()]);
        }
    }
}
