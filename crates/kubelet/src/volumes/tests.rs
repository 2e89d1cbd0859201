//! Volumes on temporary folders.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::payload::{File, Payload};
use super::*;

fn payload(files: &[(&str, &str, u32)]) -> Payload {
    let file = |data: &str, mode| File { data: data.into(), mode, owner: None };
    files.iter().map(|(path, data, mode)| ((*path).to_owned(), file(data, *mode))).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn files_change_all_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let write = |files: &[_]| atomic::write(dir.path(), &payload(files), None, now).unwrap();
    assert!(write(&[("a", "1", 0o644), ("d/b", "2", 0o400)]));
    assert!(!write(&[("a", "1", 0o644), ("d/b", "2", 0o400)]), "nothing changed");
    assert_eq!(read(&dir.path().join("d/b")), "2");
    let mode = std::fs::metadata(dir.path().join("d/b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o400);
    assert_eq!(std::fs::read_link(dir.path().join("a")).unwrap(), Path::new("..data/a"));
    assert!(write(&[("a", "3", 0o644)]));
    assert_eq!(read(&dir.path().join("a")), "3");
    assert!(std::fs::symlink_metadata(dir.path().join("d")).is_err(), "the name is gone");
    let folders = std::fs::read_dir(dir.path()).unwrap().flatten();
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir()).count();
    assert_eq!(folders, 1, "the old folder is gone");
}

#[test]
fn paths_stay_inside() {
    let dir = tempfile::tempdir().unwrap();
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    for path in ["../x", "/x", "a/../../x", "..x", ""] {
        let result = atomic::write(dir.path(), &payload(&[(path, "", 0o644)]), None, now);
        assert!(matches!(result, Err(VolumeError::PathEscapes(_))), "{path}");
    }
}

#[tokio::test]
async fn sub_paths_follow_no_link_out() {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let prepare = |path: &str| {
        prepare_sub_path(volume.clone(), path.to_owned(), dir.path().join("target"), false)
    };
    assert_eq!(prepare("a/b").await.unwrap(), volume.join("a/b"));
    assert!(volume.join("a/b").is_dir());
    std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
    assert!(prepare("out/passwd").await.is_err());
    std::os::unix::fs::symlink("a", volume.join("in")).unwrap();
    assert_eq!(prepare("in/b").await.unwrap(), volume.join("a/b"));
}

#[test]
fn every_type_has_its_own_folder_and_volume() {
    let folders: std::collections::BTreeSet<_> =
        plugins().iter().map(|plugin| plugin.folder()).collect();
    assert_eq!(folders.len(), plugins().len());
    for (field, taken) in [
        (serde_json::json!({"name": "v", "emptyDir": {}}), true),
        (serde_json::json!({"name": "v"}), true),
        (serde_json::json!({"name": "v", "hostPath": {"path": "/"}}), true),
        (serde_json::json!({"name": "v", "nfs": {"server": "s", "path": "/"}}), false),
    ] {
        let volume: Volume = serde_json::from_value(field).unwrap();
        assert_eq!(
            plugins().iter().filter(|plugin| plugin.takes(&volume)).count(),
            usize::from(taken)
        );
        if !taken {
            assert_eq!(type_name(&volume), "nfs");
        }
    }
}
