//! Network sysctls, in the network namespace of the calling thread.

use std::fs;

use crate::Error;

/// Writes `/proc/sys/net/<path>`, for example `ipv4/ip_forward`.
///
/// # Errors
/// The file is not there or cannot be written.
pub fn set(path: &str, value: &str) -> Result<(), Error> {
    fs::write(format!("/proc/sys/net/{path}"), value)
        .map_err(|error| Error::io(format!("set net sysctl {path} to {value}"), error))
}

/// Writes a sysctl unless it has that value already, so that a read-only `/proc/sys` does not
/// matter where nothing needs to change.
///
/// # Errors
/// The value differs and the file cannot be written.
pub fn ensure(path: &str, value: &str) -> Result<(), Error> {
    match get(path) {
        Ok(found) if found == value => Ok(()),
        _ => set(path, value),
    }
}

/// Reads `/proc/sys/net/<path>`, without the line's end.
///
/// # Errors
/// The file is not there or cannot be read.
pub fn get(path: &str) -> Result<String, Error> {
    fs::read_to_string(format!("/proc/sys/net/{path}"))
        .map(|text| text.trim().to_owned())
        .map_err(|error| Error::io(format!("read net sysctl {path}"), error))
}
