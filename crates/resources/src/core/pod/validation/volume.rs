//! Volumes of a pod spec: names, and exactly one source each.

use api::field::ErrorList;
use api::quantity::Quantity;
use api::validate;

use super::Place;
use super::container::{descending_path, no_backsteps};
use super::env::volume_field_ref;
use super::resources::resource_field;
use crate::check::{in_range, one_of, required};
use crate::cursor::{Field, rule};

/// The names of a pod's volumes, and which of them claims may be block devices.
pub(crate) struct Volumes<'a>(Vec<(&'a str, bool)>);

impl Volumes<'_> {
    /// Whether there is a volume of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// Whether the volume is a claim (or makes one); `None` when there is no such volume.
    pub(crate) fn is_claim(&self, name: &str) -> Option<bool> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, claim)| *claim)
    }
}

/// What is wrong with the volumes; answers which there are.
pub(crate) fn volumes<'a>(list: Field<'a>, place: Place, errors: &mut ErrorList) -> Volumes<'a> {
    let mut known: Vec<(&str, bool)> = Vec::new();
    for volume in list.items() {
        let name = volume.get("name");
        let found = errors.len();
        sources(volume, place, errors);
        if required(name, errors) {
            rule(name, validate::dns1123_label, errors);
            if known.iter().any(|(other, _)| *other == name.str()) {
                errors.push(name.duplicate());
            }
        }
        // What is wrong is not there for the containers either.
        if errors.len() == found {
            let claim =
                volume.get("persistentVolumeClaim").is_set() || volume.get("ephemeral").is_set();
            known.push((name.str(), claim));
        }
    }
    Volumes(known)
}

/// The sources in the order in which upstream looks at them.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// The names under which a second source is refused, which are not all those of the fields.
fn refused_as(name: &'static str) -> &'static str {
    match name {
        "cephfs" => "cephFS",
        "downwardAPI" => "downwarAPI",
        name => name,
    }
}

fn sources(volume: Field<'_>, place: Place, errors: &mut ErrorList) {
    let mut seen = false;
    for name in SOURCES {
        let source = Field::get(volume, name);
        if !source.is_set() {
            continue;
        }
        if seen {
            let source = Field::get(volume, refused_as(name));
            errors.push(source.forbidden("may not specify more than 1 volume type"));
            continue;
        }
        seen = true;
        match name {
            "emptyDir" => {
                let size = source.get("sizeLimit");
                if size.str().parse::<Quantity>().is_ok_and(|size| size < Quantity::from_int(0)) {
                    let text = "SizeLimit field must be a valid resource quantity";
                    errors.push(size.forbidden(text));
                }
            }
            "secret" => {
                required(source.get("secretName"), errors);
                files(source, errors);
            }
            "configMap" => {
                required(source.get("name"), errors);
                files(source, errors);
            }
            "downwardAPI" => {
                mode(source.get("defaultMode"), errors);
                for item in source.get("items").items() {
                    downward(item, source, errors);
                }
            }
            "gitRepo" => {
                required(source.get("repository"), errors);
                descending_path(source.get("directory"), errors);
            }
            "projected" => projected(source, errors),
            "ephemeral" => ephemeral(source, errors),
            "image" => {
                if place == Place::Pod {
                    required(source.get("reference"), errors);
                }
                let policies = ["Always", "IfNotPresent", "Never"];
                one_of(source.get("pullPolicy"), &policies, errors);
            }
            name => shared_source(name, source, errors),
        }
    }
    if !seen {
        errors.push(volume.required("must specify a volume type"));
    }
}

/// Sources that a persistent volume may have too.
pub(crate) fn shared_source(name: &str, source: Field<'_>, errors: &mut ErrorList) {
    match name {
        "hostPath" => host_path(source, errors),
        "persistentVolumeClaim" => {
            required(source.get("claimName"), errors);
        }
        "nfs" => {
            required(source.get("server"), errors);
            let path = source.get("path");
            if required(path, errors) && !path.str().starts_with('/') {
                errors.push(path.invalid("must be an absolute path"));
            }
        }
        "csi" => csi(source, errors),
        "iscsi" => iscsi(source, errors),
        "fc" => fibre_channel(source, errors),
        "photonPersistentDisk" => crate::check::required_fields(source, &["pdID"], errors),
        "storageos" => {
            let name = source.get("volumeName");
            if required(name, errors) {
                rule(name, validate::dns1123_label, errors);
            }
            rule(source.get("volumeNamespace"), validate::dns1123_label, errors);
            if source.get("secretRef").is_set() {
                required(source.at(&["secretRef", "name"]), errors);
            }
        }
        "gcePersistentDisk" => {
            required(source.get("pdName"), errors);
            in_range(source.get("partition"), 0, 255, errors);
        }
        "awsElasticBlockStore" => {
            required(source.get("volumeID"), errors);
            in_range(source.get("partition"), 0, 255, errors);
        }
        "glusterfs" => crate::check::required_fields(source, &["endpoints", "path"], errors),
        "flexVolume" => crate::check::required_fields(source, &["driver"], errors),
        "cephfs" | "rbd" => {
            required(source.get("monitors"), errors);
            if name == "rbd" {
                required(source.get("image"), errors);
            }
        }
        "cinder" => {
            required(source.get("volumeID"), errors);
            if source.get("secretRef").is_set() {
                required(source.at(&["secretRef", "name"]), errors);
            }
        }
        "azureFile" => crate::check::required_fields(source, &["secretName", "shareName"], errors),
        "azureDisk" => {
            crate::check::required_fields(source, &["diskName", "diskURI"], errors);
            one_of(source.get("cachingMode"), &["None", "ReadOnly", "ReadWrite"], errors);
            one_of(source.get("kind"), &["Dedicated", "Managed", "Shared"], errors);
        }
        "vsphereVolume" => crate::check::required_fields(source, &["volumePath"], errors),
        "portworxVolume" => crate::check::required_fields(source, &["volumeID"], errors),
        "quobyte" => {
            let registry = source.get("registry");
            let text = "must be a host:port pair or multiple pairs separated by commas";
            if registry.is_empty() {
                errors.push(registry.required(text));
            } else if source.get("tenant").str().len() >= 65 {
                let text = "must be a UUID and may not exceed a length of 64 characters";
                errors.push(source.get("tenant").required(text));
            } else {
                let pairs = registry.str().split(',');
                let bad = pairs.filter(|pair| pair.matches(':').count() != 1).count();
                errors.extend((0..bad).map(|_| registry.invalid(text)));
            }
            required(source.get("volume"), errors);
        }
        "scaleIO" => {
            crate::check::required_fields(source, &["gateway", "system", "volumeName"], errors);
        }
        _ => {}
    }
}

const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

fn host_path(source: Field<'_>, errors: &mut ErrorList) {
    if required(source.get("path"), errors) {
        no_backsteps(source.get("path"), errors);
    }
    one_of(source.get("type"), &HOST_PATH_TYPES, errors);
}

fn csi(source: Field<'_>, errors: &mut ErrorList) {
    let driver = source.get("driver");
    if required(driver, errors) {
        driver_name(driver, errors);
    }
    let reference = source.get("nodePublishSecretRef");
    if reference.is_set() {
        required(reference.get("name"), errors);
    }
}

/// The name of a CSI driver.
pub(crate) fn driver_name(field: Field<'_>, errors: &mut ErrorList) {
    if field.str().len() > 63 {
        errors.push(field.too_long(63));
    }
    let lower = field.str().to_lowercase();
    errors.extend(validate::dns1123_subdomain(&lower).into_iter().map(|text| field.invalid(text)));
}

fn iscsi(source: Field<'_>, errors: &mut ErrorList) {
    required(source.get("targetPortal"), errors);
    let iqn = source.get("iqn");
    if required(iqn, errors) {
        let known = ["iqn", "eui", "naa"].iter().any(|prefix| iqn.str().starts_with(prefix));
        if !known {
            errors.push(iqn.invalid("must be valid format starting with iqn, eui, or naa"));
        }
    }
    in_range(source.get("lun"), 0, 255, errors);
    let chap = ["chapAuthDiscovery", "chapAuthSession"];
    if chap.iter().any(|name| source.get(name).bool()) && !source.get("secretRef").is_set() {
        errors.push(source.get("secretRef").required(""));
    }
}

fn fibre_channel(source: Field<'_>, errors: &mut ErrorList) {
    let (targets, ids, lun) = (source.get("targetWWNs"), source.get("wwids"), source.get("lun"));
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => {
            errors.push(targets.required("must specify either targetWWNs or wwids, but not both"));
        }
        (false, false) => {
            errors
                .push(targets.invalid("targetWWNs and wwids can not be specified simultaneously"));
        }
        _ => {}
    }
    if !targets.is_empty() {
        if lun.is_set() {
            in_range(lun, 0, 255, errors);
        } else {
            errors.push(lun.required("lun is required if targetWWNs is specified"));
        }
    }
}

fn mode(field: Field<'_>, errors: &mut ErrorList) {
    if field.int().is_some_and(|value| !(0..=0o777).contains(&value)) {
        let text = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(field.invalid(text));
    }
}

fn files(source: Field<'_>, errors: &mut ErrorList) {
    mode(source.get("defaultMode"), errors);
    for item in source.get("items").items() {
        key_to_path(item, errors);
    }
}

fn key_to_path(item: Field<'_>, errors: &mut ErrorList) {
    required(item.get("key"), errors);
    if required(item.get("path"), errors) {
        local_path(item.get("path"), errors);
    }
    mode(item.get("mode"), errors);
}

/// A relative path that stays below its volume and does not start with `..`.
pub(crate) fn local_path(field: Field<'_>, errors: &mut ErrorList) {
    if field.str().starts_with('/') {
        errors.push(field.invalid("must be a relative path"));
    }
    no_backsteps(field, errors);
    if field.str().starts_with("..") && !field.str().starts_with("../") {
        errors.push(field.invalid("must not start with '..'"));
    }
}

/// A file of the downward API. Upstream names the list's owner, not the item: `shown`.
fn downward<'a>(item: Field<'a>, shown: Field<'a>, errors: &mut ErrorList) {
    let of = |name: &'static str| Field::get(shown, name).with(item.get(name).value());
    let item = shown.with(item.value());
    if required(of("path"), errors) {
        local_path(of("path"), errors);
    }
    let (reference, resource) = (of("fieldRef"), of("resourceFieldRef"));
    match (reference.is_set(), resource.is_set()) {
        (true, with_resource) => {
            volume_field_ref(reference, errors);
            if with_resource {
                let text = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(item.invalid_as("resource", text));
            }
        }
        (false, true) => resource_field(resource, true, errors),
        (false, false) => {
            errors.push(item.required("one of fieldRef and resourceFieldRef is required"));
        }
    }
    mode(of("mode"), errors);
}

fn projected(source: Field<'_>, errors: &mut ErrorList) {
    mode(source.get("defaultMode"), errors);
    let mut paths: Vec<&str> = Vec::new();
    for part in source.get("sources").items() {
        let mut kinds = 0;
        let known = [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ];
        for kind in known {
            let field = Field::get(part, kind);
            if field.is_set() {
                kinds += 1;
                projected_part(kind, field, source, &mut paths, errors);
            }
        }
        if kinds > 1 {
            errors.push(part.forbidden("may not specify more than 1 volume type"));
        }
        if kinds == 0 {
            let kinds = r#"may specify one of: "clusterTrustBundle", "configMap", "downwardAPI", "podCertificate", "secret", "serviceAccountToken""#;
            errors.push(part.required(kinds));
        }
    }
}

fn projected_part<'a>(
    kind: &str,
    field: Field<'a>,
    projected: Field<'a>,
    paths: &mut Vec<&'a str>,
    errors: &mut ErrorList,
) {
    let mut take = |path: Field<'a>, shown: &str, errors: &mut ErrorList| {
        if path.is_empty() {
            return;
        }
        if paths.contains(&path.str()) {
            errors.push(projected.invalid_as(shown, "conflicting duplicate paths"));
        } else {
            paths.push(path.str());
        }
    };
    match kind {
        "secret" | "configMap" => {
            required(field.get("name"), errors);
            for item in field.get("items").items() {
                key_to_path(item, errors);
                take(item.get("path"), field.get("name").str(), errors);
            }
        }
        "downwardAPI" => {
            for item in field.get("items").items() {
                downward(item, field, errors);
                take(item.get("path"), item.get("path").str(), errors);
            }
        }
        "serviceAccountToken" => {
            let seconds = field.get("expirationSeconds");
            let value = seconds.int().unwrap_or_default();
            if value < 600 {
                let text = "may not specify a duration less than 10 minutes";
                errors.push(seconds.invalid_as(value, text));
            }
            if value > 1 << 32 {
                let text = "may not specify a duration larger than 2^32 seconds";
                errors.push(seconds.invalid_as(value, text));
            }
            // Upstream shows the path as if it were the volume's.
            let path = projected.get("path").with(field.get("path").value());
            if required(path, errors) {
                local_path(path, errors);
            }
        }
        "clusterTrustBundle" => {
            if required(field.get("path"), errors) {
                local_path(field.get("path"), errors);
            }
            take(field.get("path"), field.get("path").str(), errors);
        }
        _ => {}
    }
}

fn ephemeral(source: Field<'_>, errors: &mut ErrorList) {
    let template = source.get("volumeClaimTemplate");
    if !template.is_set() {
        errors.push(template.required(""));
        return;
    }
    crate::core::persistent_volume_claim::claim_spec(template.get("spec"), errors);
}
