//! Device nodes of the host, for privileged containers and those that ask for some.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use container_runtime::Device;

use crate::spec::Node;

/// What every container has of its own under /dev.
const OWN: &[&str] = &[
    "pts", "shm", "fd", "mqueue", "console", "ptmx", "core", "null", "zero", "full", "random",
    "urandom", "tty", "stdin", "stdout", "stderr",
];

fn node(path: &Path, inside: String, access: &str) -> Option<Node> {
    let meta = fs::metadata(path).ok()?;
    let kind = if meta.file_type().is_char_device() {
        'c'
    } else if meta.file_type().is_block_device() {
        'b'
    } else {
        return None;
    };
    Some(Node {
        path: inside,
        kind,
        major: nix::sys::stat::major(meta.rdev()),
        minor: nix::sys::stat::minor(meta.rdev()),
        mode: meta.mode() & 0o7777,
        access: access.to_owned(),
    })
}

/// All devices of the host.
pub(crate) fn all() -> Vec<Node> {
    let mut nodes = Vec::new();
    add_below(Path::new("/dev"), "rwm", &mut nodes);
    nodes
}

fn add_below(folder: &Path, access: &str, nodes: &mut Vec<Node>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let own =
            path.strip_prefix("/dev").is_ok_and(|p| OWN.iter().any(|own| p == Path::new(own)));
        let Ok(kind) = entry.file_type() else { continue };
        if own || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            add_below(&path, access, nodes);
        } else {
            nodes.extend(node(&path, path.display().to_string(), access));
        }
    }
}

/// The nodes of a device that a container asks for: one, or those of a folder.
pub(crate) fn look_up(device: &Device) -> Result<Vec<Node>, String> {
    let (host, inside) = (Path::new(&device.host_path), &device.container_path);
    let access = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
    if host.is_dir() {
        let mut nodes = Vec::new();
        add_below(host, access, &mut nodes);
        for node in &mut nodes {
            if let Some(rest) = node.path.strip_prefix(&*device.host_path) {
                node.path = format!("{inside}{rest}");
            }
        }
        return Ok(nodes);
    }
    let found = node(host, inside.clone(), access);
    found.map(|node| vec![node]).ok_or_else(|| format!("{} is not a device", host.display()))
}
