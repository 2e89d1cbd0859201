//! What the pod network gave to whom, on disk: one small file an attachment.
//!
//! A file is written whole or not at all (written aside, then renamed), so a `kill -9` leaves the
//! old or the new. After a power cut the pods' namespaces are gone too; an unreadable record is
//! then put aside as if it had not been.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::HostPort;
use crate::Error;

/// What one pod holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The pod sandbox.
    pub id: String,
    /// The host's end of its veth pair.
    pub link: String,
    /// Its addresses, one a family.
    pub ips: Vec<IpAddr>,
    /// The host's ports that lead to it.
    #[serde(default)]
    pub host_ports: Vec<HostPort>,
}

/// The folder of records.
#[derive(Debug, Clone)]
pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder.join("pods"))
            .map_err(|e| Error::io(format!("make {}", folder.display()), e))?;
        Ok(Self { folder: folder.to_owned() })
    }

    pub(super) fn load(&self) -> Result<Vec<Attachment>, Error> {
        let pods = self.folder.join("pods");
        let failed = |e| Error::io(format!("read {}", pods.display()), e);
        let mut found = Vec::new();
        for entry in fs::read_dir(&pods).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|ext| ext != "json") {
                continue;
            }
            let bytes = fs::read(&path).map_err(failed)?;
            match serde_json::from_slice::<Attachment>(&bytes) {
                Ok(attachment) => found.push(attachment),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an unreadable network record is dropped");
                    fs::remove_file(&path).map_err(failed)?;
                }
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    pub(super) fn save(&self, attachment: &Attachment) -> Result<(), Error> {
        let bytes = serde_json::to_vec(attachment).map_err(|e| Error::io("write a record", e))?;
        self.write(&self.path(&attachment.link), &bytes)
    }

    pub(super) fn remove(&self, attachment: &Attachment) -> Result<(), Error> {
        let path = self.path(&attachment.link);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("take away {}", path.display()), e))
            }
            _ => Ok(()),
        }
    }

    /// The addresses given last, one a family.
    pub(super) fn last(&self) -> Vec<IpAddr> {
        let text = fs::read_to_string(self.folder.join("last")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    pub(super) fn save_last(&self, ips: &[IpAddr]) -> Result<(), Error> {
        let lines: Vec<String> = ips.iter().map(ToString::to_string).collect();
        self.write(&self.folder.join("last"), lines.join("\n").as_bytes())
    }

    /// Files are named for the link: the id comes from outside and may hold anything.
    fn path(&self, link: &str) -> PathBuf {
        self.folder.join("pods").join(format!("{link}.json"))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let aside = path.with_extension("new");
        fs::write(&aside, bytes)
            .and_then(|()| fs::rename(&aside, path))
            .map_err(|e| Error::io(format!("write {}", path.display()), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_and_damaged_ones_do_not_hurt() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path()).unwrap();
        let one = Attachment {
            id: "../a/b".into(),
            link: "fry1".into(),
            ips: vec!["10.0.0.2".parse().unwrap()],
            host_ports: Vec::new(),
        };
        records.save(&one).unwrap();
        records.save_last(&one.ips).unwrap();
        fs::write(folder.path().join("pods/fry2.json"), b"{\"id\":").unwrap();
        let again = Records::open(folder.path()).unwrap();
        assert_eq!(again.load().unwrap(), std::slice::from_ref(&one));
        assert_eq!(again.last(), one.ips);
        again.remove(&one).unwrap();
        again.remove(&one).unwrap();
        assert!(again.load().unwrap().is_empty());
    }
}
