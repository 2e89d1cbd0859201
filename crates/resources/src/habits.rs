//! Where kinds differ from each other with no rule behind it: what upstream's strategies happen to do,
//! kind by kind. Pure.

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object;
use apiserver::resource::ResourceInfo;

/// Whether a deletion answers the object that is gone, and not that it succeeded.
pub(crate) fn returns_deleted(info: &ResourceInfo) -> bool {
    const KINDS: [&str; 19] = [
        "csidrivers",
        "csinodes",
        "deviceclasses",
        "devicetaintrules",
        "namespaces",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourceclaims",
        "resourceclaimtemplates",
        "resourcepoolstatusrequests",
        "resourcequotas",
        "resourceslices",
        "serviceaccounts",
        "services",
        "storageclasses",
        "volumeattachments",
        "volumeattributesclasses",
    ];
    KINDS.contains(&&*info.plural)
}

/// Whether a write of `status` leaves the metadata alone; with the older kinds it does not.
pub(crate) fn keeps_metadata_on_status(info: &ResourceInfo) -> bool {
    matches!(
        &*info.plural,
        "podcertificaterequests"
            | "podgroups"
            | "servicecidrs"
            | "storageversionmigrations"
            | "resourceclaims"
            | "devicetaintrules"
            | "resourcepoolstatusrequests"
            | "storageversions"
            | "volumeattachments"
            | "validatingadmissionpolicies"
            | "flowschemas"
            | "prioritylevelconfigurations"
    )
}

/// The fields that a write through the object itself, or a subresource, resets: nobody owns them
/// through it.
pub(crate) fn reset_fields(
    info: &ResourceInfo,
    subresource: Option<&str>,
    has_status: bool,
) -> Vec<&'static str> {
    match (subresource, &*info.plural) {
        (Some("status"), "apiservices") => vec!["metadata", "spec"],
        (Some("status"), _) if keeps_metadata_on_status(info) => vec!["metadata", "spec"],
        (Some("status"), "deployments") => vec!["spec", "metadata.labels"],
        (Some("status"), _) => vec!["spec"],
        (None, _) if has_status => vec!["status"],
        _ => Vec::new(),
    }
}

/// Whether a changed object's metadata is judged as a new object's would be, and not compared with
/// what was there.
pub(crate) fn judges_changed_meta_as_new(info: &ResourceInfo) -> bool {
    matches!(
        &*info.group,
        crate::admissionregistration::GROUP | "flowcontrol.apiserver.k8s.io" | "discovery.k8s.io"
    ) || matches!(&*info.kind, "CSINode" | "VolumeAttachment")
}

/// Finalizers of built-in kinds are fully qualified, or one of three old names.
pub(crate) fn standard_finalizers(info: &ResourceInfo, object: &Value, errors: &mut ErrorList) {
    // These groups are made of generic parts alone, which take every label's key.
    let generic = [
        crate::admissionregistration::GROUP,
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "coordination.k8s.io",
    ];
    if generic.contains(&&*info.group) {
        return;
    }
    for (index, finalizer) in object::finalizers(object).enumerate() {
        let standard = matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion");
        if !finalizer.contains('/') && !standard {
            let path = Path::new("metadata").child("finalizers").index(index);
            let text = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(path, finalizer, text));
        }
    }
}
