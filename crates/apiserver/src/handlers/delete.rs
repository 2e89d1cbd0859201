//! delete and deletecollection.

use api::Value;
use api::names::Gvk;
use api::object;
use api::status::{ApiError, ApiResult};
use axum::body::Body;
use axum::response::Response;
use futures::StreamExt;
use serde_json::json;

use super::options::{ListOptions, check_dry_run};
use super::{Target, header};
use crate::codec;
use crate::registry::{Deed, DeleteRequest};
use crate::response;
use crate::storage::list::ListRequest;

/// Deletions of one deletecollection at work at the same time.
const WORKERS: usize = 16;

/// `DeleteOptions` from the body, or else from the query.
struct Options {
    request: DeleteRequest,
    json: Value,
    dry_run: bool,
}

impl Target {
    async fn delete_options(&self, body: Body) -> ApiResult<Options> {
        let bytes = codec::read_body(body).await?;
        let query = &self.call.query;
        let mut json = if bytes.is_empty() {
            json!({})
        } else {
            let format = codec::body_format(header(&self.call.parts.headers, "content-type"))?;
            let schema = api::schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
                .unwrap_or(api::schema::Schema::Any);
            let decoded =
                codec::decode(&bytes, format, &schema, &Gvk::new("", "v1", "DeleteOptions"))
                    .map_err(|error| error.handled_as("DeleteOptions", "v1"))?;
            let kind = object::kind(&decoded.object);
            if !matches!(kind, "" | "DeleteOptions") {
                return Err(ApiError::bad_request(
                    "decoded object cannot be converted to DeleteOptions",
                ));
            }
            decoded.object
        };
        if bytes.is_empty() {
            if let Some(seconds) = query.number("gracePeriodSeconds") {
                json["gracePeriodSeconds"] = seconds.into();
            }
            if let Some(policy) = query.get("propagationPolicy").filter(|text| !text.is_empty()) {
                json["propagationPolicy"] = policy.into();
            }
            if query.get("orphanDependents").is_some() {
                json["orphanDependents"] = query.flag("orphanDependents").into();
            }
            let dry_run: Vec<&str> = query.all("dryRun").filter(|text| !text.is_empty()).collect();
            if !dry_run.is_empty() {
                json["dryRun"] = json!(dry_run);
            }
        }
        let mut errors = Vec::new();
        let values = object::list_at(&json, &["dryRun"]).iter().filter_map(Value::as_str);
        // A body says it all: upstream does not look at the query then.
        let dry_run = check_dry_run(values, &mut errors);
        ApiError::check("meta.k8s.io", "DeleteOptions", "", &errors)?;
        json["kind"] = "DeleteOptions".into();
        json["apiVersion"] = "meta.k8s.io/v1".into();
        Ok(Options { request: DeleteRequest::of(&json)?, json, dry_run })
    }

    pub(super) async fn delete(self, body: Body) -> ApiResult<Response> {
        let options = self.delete_options(body).await?;
        let name = &self.call.info.name;
        let mut op = self.op(None, "", options.dry_run, "DeleteOptions");
        op.options = options.json;
        let deed = op.delete(name, &options.request).await?;
        let warnings = std::mem::take(&mut op.warnings);
        drop(op);
        let mut answer = match deed {
            Deed::Stored(object) => {
                let waits = options.request.propagation.as_deref() == Some("Foreground")
                    || options.request.orphan_dependents == Some(false);
                let body = self.renderer().value(object)?;
                self.finish(if waits { 202 } else { 200 }, body)
            }
            Deed::Gone(object) if self.entry.resource.returns_deleted() => {
                let body = self.renderer().value(object)?;
                self.finish(200, body)
            }
            Deed::Gone(object) => {
                let status = self.success(name, &object);
                let body = codec::encode(&status, self.output.format, self.output.is_pretty)?;
                response::object(200, self.output, body)
            }
        };
        response::add_warnings(&mut answer, &warnings);
        Ok(answer)
    }

    fn success(&self, name: &str, object: &Value) -> Value {
        let mut details = json!({
            "name": name,
            "kind": &*self.entry.gr.resource,
            "uid": object::uid(object),
        });
        if !self.entry.gr.group.is_empty() {
            details["group"] = (&*self.entry.gr.group).into();
        }
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        })
    }

    pub(super) async fn delete_collection(self, body: Body) -> ApiResult<Response> {
        let list_options = ListOptions::of(&self.call.query, false)?;
        let options = self.delete_options(body).await?;
        let selection = self.selection()?;
        let request = ListRequest {
            namespace: self.namespace(),
            limit: list_options.limit,
            continue_token: self.call.query.text("continue"),
            version: list_options.list_version(),
        };
        let core = &self.call.core;
        let page = core.storage.list(&self.entry, &selection, request).await?;
        let prefix = self.entry.resource.info().key_prefix.clone();
        let namespaced = self.entry.is_namespaced();
        let names: Vec<String> = page
            .objects
            .iter()
            .map(|object| object.ns_name(&prefix, namespaced).1.to_owned())
            .collect();
        let deletions = names.into_iter().map(|name| {
            let mut op = self.op(None, "", options.dry_run, "DeleteOptions");
            op.options = options.json.clone();
            let request = &options.request;
            async move {
                match op.delete(&name, request).await {
                    Err(error) if error.reason() == "NotFound" => Ok(()),
                    other => other.map(drop),
                }
            }
        });
        let results: Vec<ApiResult<()>> =
            futures::stream::iter(deletions).buffer_unordered(WORKERS).collect().await;
        results.into_iter().collect::<ApiResult<Vec<()>>>()?;
        let body = self.renderer().list(&page)?;
        Ok(self.finish(200, body))
    }
}
