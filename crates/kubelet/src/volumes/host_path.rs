//! `hostPath`: a path of the node itself, checked or made as its type says.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{Context, Prepared, VolumeError, VolumePlugin, blocking};

pub(crate) struct HostPath;

#[async_trait]
impl VolumePlugin for HostPath {
    fn folder(&self) -> &'static str {
        "kubernetes.io~host-path"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.host_path.is_some()
    }

    async fn set_up(&self, _ctx: &Context<'_>, volume: &Volume) -> Result<Prepared, VolumeError> {
        let source = volume.host_path.clone().unwrap_or_default();
        blocking(move || {
            check(Path::new(&source.path), source.type_.as_deref().unwrap_or_default())?;
            Ok(Prepared { path: source.path.into(), ..Prepared::default() })
        })
        .await
    }
}

fn check(path: &Path, wanted: &str) -> Result<(), VolumeError> {
    let kind = std::fs::metadata(path).ok().map(|meta| meta.file_type());
    let make = |error| VolumeError::io("make", path, error);
    let (fits, name) = match wanted {
        "" => return Ok(()),
        "DirectoryOrCreate" => {
            if kind.is_none() {
                std::fs::create_dir_all(path).map_err(make)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
                    .map_err(make)?;
                return Ok(());
            }
            (kind.is_some_and(|kind| kind.is_dir()), "directory")
        }
        "FileOrCreate" => {
            if kind.is_none() {
                std::fs::File::options().create(true).append(true).open(path).map_err(make)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
                    .map_err(make)?;
                return Ok(());
            }
            (kind.is_some_and(|kind| kind.is_file()), "file")
        }
        "Directory" => (kind.is_some_and(|kind| kind.is_dir()), "directory"),
        "File" => (kind.is_some_and(|kind| kind.is_file()), "file"),
        "Socket" => (kind.is_some_and(|kind| kind.is_socket()), "socket file"),
        "CharDevice" => (kind.is_some_and(|kind| kind.is_char_device()), "character device"),
        "BlockDevice" => (kind.is_some_and(|kind| kind.is_block_device()), "block device"),
        other => return Err(VolumeError::Unsupported(format!("hostPath of type {other}"))),
    };
    if fits {
        return Ok(());
    }
    Err(VolumeError::HostPathType { path: path.display().to_string(), wanted: name })
}
