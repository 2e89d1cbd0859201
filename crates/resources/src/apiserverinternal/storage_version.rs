//! StorageVersion: in which versions each API server reads and writes a resource.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{list_at, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::required;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, UNSET};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("internal.apiserver.k8s.io", "storageversions")
        .needs_resource_version()
        .rules(StorageVersion)
}

struct StorageVersion;

impl Rules for StorageVersion {
    fn validate_create(&self, _ctx: &WriteContext<'_>, new: Field<'_>, errors: &mut ErrorList) {
        let name = new.at(&["metadata", "name"]);
        // `GROUP.RESOURCE`, the core group by its own name.
        if !name.str().contains('.') {
            errors.push(name.invalid("must be in the form of <group>.<resource>"));
        }
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let list = new.at(&["status", "storageVersions"]);
        let mut common: Option<&str> = None;
        let mut agree = true;
        for version in list.items() {
            required(version.get("apiServerID"), errors);
            let encoding = version.get("encodingVersion").str();
            let decodable = version.get("decodableVersions");
            if !decodable.items().any(|one| one.str() == encoding) {
                let text = format!("decodableVersions must include encodingVersion {encoding}");
                let value = decodable.value().cloned().unwrap_or_default();
                errors.push(version.invalid_as(value, text));
            }
            agree &= common.is_none_or(|common| common == encoding);
            common = Some(encoding);
        }
        let stated = new.at(&["status", "commonEncodingVersion"]);
        match common.filter(|_| agree) {
            None if stated.is_set() => {
                let text = "should be nil if servers do not agree on the same encoding version, or if there is no server reporting the supported versions yet";
                errors.push(stated.invalid(text));
            }
            Some(common) if stated.str() != common => {
                let text = format!("the common encoding version should be set to {common}");
                errors.push(stated.invalid(text));
            }
            _ => {}
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let versions: Vec<String> = list_at(object, &["status", "storageVersions"])
            .iter()
            .map(|one| {
                format!("{}={}", str_at(one, &["apiServerID"]), str_at(one, &["encodingVersion"]))
            })
            .collect();
        let versions = if versions.is_empty() {
            UNSET.to_owned()
        } else {
            table::first_few(&versions, 3, ",")
        };
        vec![
            table::name(object),
            table::text_or(object, &["status", "commonEncodingVersion"], UNSET),
            versions.into(),
            table::age(object, now),
        ]
    }
}
