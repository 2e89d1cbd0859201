//! ClusterTrustBundle: roots of trust that the whole cluster may read.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::str_at;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::{pem_blocks, signer_name};
use crate::check::{immutable, required};
use crate::cursor::Field;
use crate::kind::{Kind, subdomain_name};
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("certificates.k8s.io", "clustertrustbundles")
        .named(bundle_name)
        .needs_resource_version()
        .selectable(&["spec.signerName"])
        .rules(Bundle)
}

/// A subdomain, after the signer's name with colons where there is one.
fn bundle_name(name: &str, prefix: bool) -> Vec<String> {
    subdomain_name(name.rsplit(':').next().unwrap_or(name), prefix)
}

struct Bundle;

impl Rules for Bundle {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let (signer, name) = (object.at(&["spec", "signerName"]), object.at(&["metadata", "name"]));
        if signer.is_empty() {
            if name.str().contains(':') {
                let text = "ClusterTrustBundle without signer name must not have \":\" in its name";
                errors.push(name.invalid(text));
            }
        } else {
            signer_name(signer, errors);
            let prefix = format!("{}:", signer.str().replace('/', ":"));
            if !name.str().starts_with(&prefix) {
                let text = format!(
                    "ClusterTrustBundle for signerName {} must be named with prefix {prefix}",
                    signer.str()
                );
                errors.push(name.invalid(text));
            }
        }
        let bundle = object.at(&["spec", "trustBundle"]);
        if required(bundle, errors) {
            match pem_blocks(bundle.str(), "CERTIFICATE") {
                None => {
                    errors.push(bundle.invalid_as("<value omitted>", "entry 0 has bad block type"))
                }
                Some(blocks) if blocks.is_empty() => {
                    let text = "at least one trust anchor must be provided";
                    errors.push(bundle.invalid_as("<value omitted>", text));
                }
                Some(mut blocks) => {
                    let count = blocks.len();
                    blocks.sort();
                    blocks.dedup();
                    if blocks.len() != count {
                        let text = "must not contain duplicate certificates";
                        errors.push(bundle.invalid_as("<value omitted>", text));
                    }
                }
            }
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.at(&["spec", "signerName"]), old.at(&["spec", "signerName"]), errors);
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let signer = str_at(object, &["spec", "signerName"]);
        vec![table::name(object), if signer.is_empty() { table::NONE } else { signer }.into()]
    }
}
