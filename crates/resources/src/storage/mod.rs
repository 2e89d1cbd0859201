//! `storage.k8s.io`: where volumes come from.

pub mod csi_driver;
pub mod csi_node;
pub mod csi_storage_capacity;
pub mod storage_class;
pub mod volume_attachment;
pub mod volume_attributes_class;

use api::field::ErrorList;

use crate::cursor::Field;

/// Parameters of a class: at most 512, at most 256 KiB.
pub(crate) fn parameters(parameters: Field<'_>, must: bool, errors: &mut ErrorList) {
    const SIZE_MAX: usize = 256 * 1024;
    if must && parameters.is_empty() {
        errors.push(parameters.required("must contain at least one key/value pair"));
        return;
    }
    if parameters.len() > 512 {
        let text = "Provisioner Parameters exceeded max allowed";
        errors.push(api::field::FieldError {
            kind: api::field::ErrorKind::TooLong,
            path: parameters.path(),
            value: None,
            detail: text.to_owned(),
        });
        return;
    }
    let mut size = 0;
    for (key, value) in parameters.entries() {
        if key.is_empty() {
            errors.push(parameters.invalid_as(key, "field can not be empty."));
        }
        size += key.len() + value.str().len();
    }
    if size > SIZE_MAX {
        errors.push(parameters.too_long(SIZE_MAX));
    }
}
