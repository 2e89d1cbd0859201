//! The images that are made from the running binary itself.
//!
//! Their root holds the binary as a hard link when the store is on the binary's own filesystem,
//! else as a copy (a reflink where the filesystem can): no bind mount, since a link keeps the old
//! version alive for running containers when the binary is replaced, and costs no space. Their
//! layer is the folder itself; its blob is made only when somebody pushes or saves it. What was
//! registered from which file is noted, so that a start with the same binary does nothing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
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
/// Does nothing when they are there and made from the same files.
///
/// # Errors
/// The binary cannot be read, or the disk is full.
pub fn register(store: &ImageStore, builtin: &Builtin) -> Result<Vec<String>> {
    let names = names(builtin);
    let note = store.root().join("builtin");
    let made_from = made_from(builtin)?;
    let here = |name: &String| matches!(store.find(name), Ok(Some(_)));
    if fs::read_to_string(&note).is_ok_and(|old| old == made_from) && names.iter().all(here) {
        return Ok(names);
    }
    let folder = store.temporary("builtin");
    let result = make(store, builtin, &folder);
    drop(fs::remove_dir_all(&folder));
    result?;
    store.write_file(&note, made_from.as_bytes())?;
    Ok(names)
}

fn names(builtin: &Builtin) -> Vec<String> {
    let mut names = vec![format!("ferry.local/ferry:{}", builtin.version)];
    names.extend(["v1", "v2", "v3"].map(|version| format!("ferry.local/demo:{version}")));
    if builtin.busybox.is_some() {
        names.push(format!("ferry.local/toolbox:{}", builtin.version));
    }
    names
}

/// Tells one set of files from another without reading them.
fn made_from(builtin: &Builtin) -> Result<String> {
    let mut text = format!("1 {}\n", builtin.version);
    for file in std::iter::once(&builtin.binary).chain(&builtin.busybox) {
        let meta = fs::metadata(file).attempt(|| format!("look at {}", file.display()))?;
        let (dev, inode, size) = (meta.dev(), meta.ino(), meta.size());
        text += &format!("{dev} {inode} {size} {}.{}\n", meta.mtime(), meta.mtime_nsec());
    }
    Ok(text)
}

fn make(store: &ImageStore, builtin: &Builtin, folder: &Path) -> Result<()> {
    let _adding = store.adding()?;
    let root = folder.join("ferry");
    skeleton(&root)?;
    place(&builtin.binary, &root.join("ferry"))?;
    let layer = [store.adopt_layer(&root)?];
    let process = ProcessConfig {
        entrypoint: vec!["/ferry".into()],
        env: vec!["PATH=/".into()],
        ..ProcessConfig::default()
    };
    store.finish(&layer, process, &[format!("ferry.local/ferry:{}", builtin.version)])?;
    for version in ["v1", "v2", "v3"] {
        store.finish(&layer, demo(version), &[format!("ferry.local/demo:{version}")])?;
    }
    if let Some(busybox) = &builtin.busybox {
        let root = folder.join("toolbox");
        toolbox(busybox, &root)?;
        let layer = [store.adopt_layer(&root)?];
        let shell = BuildConfig { cmd: vec!["/bin/sh".into()], ..BuildConfig::default() };
        let name = format!("ferry.local/toolbox:{}", builtin.version);
        store.finish(&layer, shell.process(), &[name])?;
    }
    Ok(())
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
        let made = fs::File::create_new(root.join(path)).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        made.attempt(|| format!("write {path}"))
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
    let copied = fs::copy(from, to).and_then(|_| fs::File::open(to)?.sync_all());
    copied.attempt(|| format!("copy {}", from.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_images_share_the_binary_and_can_be_saved() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("ferry-binary");
        fs::write(&binary, "#!/bin/true").unwrap();
        let store = ImageStore::open(folder.path().join("images")).unwrap();
        let builtin = Builtin {
            binary: binary.clone(),
            version: "1.2.3".into(),
            busybox: Some(binary.clone()),
        };
        let names = register(&store, &builtin).unwrap();
        assert_eq!(names.len(), 5);
        assert_eq!(fs::metadata(&binary).unwrap().nlink(), 3);
        let demo = store.get("ferry.local/demo:v2").unwrap();
        assert_eq!(demo.config.config.entrypoint, ["/ferry", "demo"]);
        assert!(demo.config.config.env.contains(&"FERRY_DEMO_VERSION=v2".to_owned()));

        let again = fs::metadata(store.root().join("index.json")).unwrap().ino();
        register(&store, &builtin).unwrap();
        assert_eq!(fs::metadata(store.root().join("index.json")).unwrap().ino(), again);

        let archive = folder.path().join("saved.tar");
        store.save(&names[..2], fs::File::create(&archive).unwrap()).unwrap();
        let other = ImageStore::open(folder.path().join("other")).unwrap();
        let imported = other.import(&archive, None).unwrap();
        let layers = other.unpack(&imported[0]).unwrap();
        let copy = other.layers_dir().join(&layers[0]).join("ferry");
        assert_eq!(fs::read_to_string(copy).unwrap(), "#!/bin/true");
    }
}
