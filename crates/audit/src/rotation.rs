//! A file that is put aside when it has grown long, and whose old parts go by number and age.
//!
//! Old parts are called `audit-2026-01-02T03-04-05.000.log` beside `audit.log`, as upstream's are.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base::clock::{SharedClock, SignedDuration, Timestamp};

const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// How long a file may grow and how long its old parts are kept; nothing is without end by a zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) bytes_max: u64,
    pub(crate) backups_max: usize,
    pub(crate) days_max: i64,
}

/// The file.
pub(crate) struct Rotated {
    path: PathBuf,
    keep: Keep,
    clock: SharedClock,
    file: File,
    len: u64,
}

impl Rotated {
    /// Opens the file, or makes it; its old parts are looked at once.
    pub(crate) fn open(path: &Path, keep: Keep, clock: SharedClock) -> io::Result<Self> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir)?;
        }
        let file = open(path)?;
        let len = file.metadata()?.len();
        let rotated = Self { path: path.to_owned(), keep, clock, file, len };
        rotated.clean()?;
        Ok(rotated)
    }

    /// Writes whole lines, into a new file when this one is full.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let full = self.keep.bytes_max > 0
            && self.len > 0
            && self.len + lines.len() as u64 > self.keep.bytes_max;
        if full {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.len += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = self.clock.now().strftime(STAMP).to_string();
        let (stem, extension) = self.name();
        std::fs::rename(
            &self.path,
            self.path.with_file_name(format!("{stem}-{stamp}{extension}")),
        )?;
        self.file = open(&self.path)?;
        self.len = 0;
        self.clean()
    }

    /// `audit` and `.log`.
    fn name(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let extension = text(self.path.extension());
        let dot = if extension.is_empty() { "" } else { "." };
        (text(self.path.file_stem()), format!("{dot}{extension}"))
    }

    /// Takes old parts away that are too many or too old.
    fn clean(&self) -> io::Result<()> {
        let (stem, extension) = self.name();
        let dir = match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut parts: Vec<(Timestamp, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stamp = name
                .strip_prefix(&format!("{stem}-"))
                .and_then(|rest| rest.strip_suffix(&*extension))
                .and_then(stamp_of);
            parts.extend(stamp.map(|stamp| (stamp, entry.path())));
        }
        parts.sort_by(|a, b| b.cmp(a));
        let oldest = self
            .clock
            .now()
            .checked_sub(SignedDuration::from_hours(24 * self.keep.days_max))
            .unwrap_or(Timestamp::MIN);
        for (index, (stamp, path)) in parts.iter().enumerate() {
            let too_many = self.keep.backups_max > 0 && index >= self.keep.backups_max;
            let too_old = self.keep.days_max > 0 && *stamp < oldest;
            if too_many || too_old {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn stamp_of(text: &str) -> Option<Timestamp> {
    // `2026-01-02T03-04-05.000`: the time's dashes are colons elsewhere.
    let (date, time) = text.split_once('T')?;
    format!("{date}T{}Z", time.replace('-', ":")).parse().ok()
}

fn open(path: &Path) -> io::Result<File> {
    // Requests are nobody else's business.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::clock::Clock;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// A clock that a test moves.
    #[derive(Debug, Default)]
    struct Moved(AtomicI64);

    impl Clock for Moved {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(1_767_225_600 + self.0.load(Ordering::Relaxed)).unwrap()
        }
    }

    #[test]
    fn parts_go_by_number_and_by_age() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/audit.log");
        let clock = Arc::new(Moved::default());
        let keep = Keep { bytes_max: 10, backups_max: 2, days_max: 1 };
        let mut file = Rotated::open(&path, keep, clock.clone()).unwrap();
        std::fs::write(path.with_file_name("audit-of-others.log"), "").unwrap();
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(path.parent().unwrap())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        for second in 0..4 {
            clock.0.store(second, Ordering::Relaxed);
            file.write(b"12345678\n").unwrap();
        }
        assert_eq!(
            names(),
            [
                "audit-2026-01-01T00-00-02.000.log",
                "audit-2026-01-01T00-00-03.000.log",
                "audit-of-others.log",
                "audit.log"
            ]
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"12345678\n");
        clock.0.store(3 * 24 * 3600, Ordering::Relaxed);
        let mut file = Rotated::open(&path, keep, clock).unwrap();
        assert_eq!(names(), ["audit-of-others.log", "audit.log"]);
        file.write(b"x").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"12345678\nx");
    }
}
