//! The images that are made from the running binary itself.
//!
//! Their root holds the binary as a hard link when the store is on the binary's own filesystem,
//! else as a copy (a reflink where the filesystem can): no bind mount, since a link keeps the old
//! version alive for running containers when the binary is replaced, and costs no space. The
//! layer's blob (for pushing and saving) is made only when there is none of that content yet.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::ProcessConfig;
use super::{Attempt, BuildConfig, ImageStore, Result};

/// What the built-in images are made of.
#[derive(Debug, Clone)]
pub struct Builtin {
    /// Ferry's own static binary.
    pub binary: PathBuf,
    /// Ferry's version, the tag of `ferry.local/ferry` and `ferry.local/toolbox`.
    pub version: String,
    /// A static busybox; without one there is no toolbox.
    pub busybox: Option<PathBuf>,
}

/// Registers `ferry.local/ferry`, `ferry.local/demo` and `ferry.local/toolbox`; answers the names.
/// Does nothing for an image that is already there with the same content.
///
/// # Errors
/// The binary cannot be read, or the disk is full.
pub fn register(store: &ImageStore, builtin: &Builtin) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let folder = store.temporary("builtin");
    let result = (|| {
        let root = folder.join("ferry");
        skeleton(&root)?;
        place(&builtin.binary, &root.join("ferry"))?;
        let ferry = BuildConfig { entrypoint: vec!["/ferry".into()], ..BuildConfig::default() };
        let name = format!("ferry.local/ferry:{}", builtin.version);
        let image = store.build(&root, &ferry, std::slice::from_ref(&name))?;
        link_into_layer(store, &image, &builtin.binary)?;
        names.push(name);
        let layers: Vec<(String, u64)> =
            image.manifest.layers.iter().map(|layer| (layer.digest.clone(), layer.size)).collect();
        for version in ["v1", "v2", "v3"] {
            let name = format!("ferry.local/demo:{version}");
            store.finish(&layers, demo(version), std::slice::from_ref(&name))?;
            names.push(name);
        }
        if let Some(busybox) = &builtin.busybox {
            let name = format!("ferry.local/toolbox:{}", builtin.version);
            let root = folder.join("toolbox");
            toolbox(busybox, &root)?;
            let shell = BuildConfig { cmd: vec!["/bin/sh".into()], ..BuildConfig::default() };
            store.build(&root, &shell, std::slice::from_ref(&name))?;
            names.push(name);
        }
        Ok(())
    })();
    drop(fs::remove_dir_all(&folder));
    result.map(|()| names)
}

fn demo(version: &str) -> ProcessConfig {
    ProcessConfig {
        entrypoint: vec!["/ferry".into(), "demo".into()],
        env: vec!["PATH=/".into(), format!("FERRY_DEMO_VERSION={version}")],
        exposed_ports: [("8080/tcp".to_owned(), super::config::Empty {})].into(),
        ..ProcessConfig::default()
    }
}

/// The folders and files that any program may expect.
fn skeleton(root: &Path) -> Result<()> {
    for folder in ["etc", "tmp", "root", "var/run"] {
        let path = root.join(folder);
        fs::create_dir_all(&path).attempt(|| format!("make {}", path.display()))?;
    }
    let write = |path: &str, text: &str| {
        fs::write(root.join(path), text).attempt(|| format!("write {path}"))
    };
    write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    write("etc/group", "root:x:0:\nnogroup:x:65534:\n")?;
    let tmp = root.join("tmp");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    fs::set_permissions(&tmp, open).attempt(|| format!("open {}", tmp.display()))
}

/// A hard link, or a copy across filesystems.
fn place(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(drop).attempt(|| format!("copy {}", from.display()))
}

/// Replaces the binary in the unpacked layer by a link to the one that runs, where that is
/// possible: the same content, once on disk.
fn link_into_layer(store: &ImageStore, image: &super::StoredImage, binary: &Path) -> Result<()> {
    let layers = store.unpack(image)?;
    let Some(layer) = layers.first() else { return Ok(()) };
    let target = store.layers_dir().join(layer).join("ferry");
    let temporary = store.temporary("link");
    if fs::hard_link(binary, &temporary).is_ok() {
        fs::rename(&temporary, &target).attempt(|| format!("link {}", target.display()))?;
        // Renaming one link onto another of the same file does nothing and leaves both.
        drop(fs::remove_file(&temporary));
    }
    Ok(())
}

/// Busybox under the names of its tools.
fn toolbox(busybox: &Path, root: &Path) -> Result<()> {
    skeleton(root)?;
    let bin = root.join("bin");
    fs::create_dir_all(&bin).attempt(|| format!("make {}", bin.display()))?;
    place(busybox, &bin.join("busybox"))?;
    for tool in TOOLS {
        let link = bin.join(tool);
        std::os::unix::fs::symlink("busybox", &link)
            .attempt(|| format!("link {}", link.display()))?;
    }
    Ok(())
}

/// Tools that busybox has in every distribution's static build.
const TOOLS: &[&str] = &[
    "ash",
    "awk",
    "base64",
    "basename",
    "cat",
    "chmod",
    "chown",
    "clear",
    "cmp",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "diff",
    "dirname",
    "dmesg",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "free",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hostname",
    "id",
    "ip",
    "kill",
    "killall",
    "less",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "more",
    "mount",
    "mv",
    "nc",
    "netstat",
    "nslookup",
    "od",
    "ping",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "reset",
    "rm",
    "rmdir",
    "route",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "stty",
    "sync",
    "tail",
    "tar",
    "tee",
    "telnet",
    "test",
    "time",
    "timeout",
    "top",
    "touch",
    "tr",
    "traceroute",
    "true",
    "tty",
    "umount",
    "uname",
    "uniq",
    "uptime",
    "vi",
    "watch",
    "wc",
    "wget",
    "which",
    "whoami",
    "xargs",
    "yes",
    "zcat",
];
