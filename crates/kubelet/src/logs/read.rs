//! Reads a container's log: whole, its end, or on and on.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use container_runtime::{ContainerState, Error, RuntimeService};
use tokio::sync::mpsc;

use super::line::{Filter, Wanted};
use super::watch::FileWatch;

const BLOCK: u64 = 64 << 10;
/// Bytes are handed on in pieces of about this size.
const PIECE: usize = 32 << 10;

/// Sends what is asked for of a log to `out`, until it is all, or nobody listens any more. A
/// followed log ends when its container has ended and everything is read.
pub(crate) async fn read(
    mut reader: Reader,
    path: PathBuf,
    container: Option<(Arc<dyn RuntimeService>, String)>,
    out: mpsc::Sender<std::io::Result<Bytes>>,
) {
    if let Err(error) = reader.run(&path, container, &out).await {
        let _nobody = out.send(Err(error)).await;
    }
}

/// A log that was there to be opened, at the place where reading begins.
pub(crate) struct Reader {
    file: BufReader<File>,
    filter: Filter,
    follow: bool,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Reader {
    /// Opens a log; its container may have ended before it wrote one.
    pub(crate) fn open(path: &Path, wanted: Wanted) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        if let Some(lines) = wanted.tail {
            let start = tail_start(&mut file, lines)?;
            file.seek(SeekFrom::Start(start))?;
        }
        let follow = wanted.follow;
        Ok(Self {
            file: BufReader::new(file),
            filter: Filter::new(wanted),
            follow,
            rest: Vec::new(),
        })
    }

    async fn run(
        &mut self,
        path: &Path,
        container: Option<(Arc<dyn RuntimeService>, String)>,
        out: &mpsc::Sender<std::io::Result<Bytes>>,
    ) -> std::io::Result<()> {
        // Watching begins before reading, so that nothing falls between.
        let watch = if self.follow { Some(FileWatch::new(path)?) } else { None };
        let mut ended = false;
        loop {
            if !self.drain(out).await? {
                return Ok(());
            }
            let Some(watch) = &watch else { return Ok(()) };
            if self.was_replaced(path)? {
                self.file = BufReader::new(File::open(path)?);
                watch.on(path);
                continue;
            }
            if ended {
                return Ok(());
            }
            tokio::select! {
                changed = watch.changed() => changed?,
                () = container_end(container.as_ref()) => ended = true,
                () = out.closed() => return Ok(()),
            }
        }
    }

    /// Hands on everything that is there; whether more is wanted.
    async fn drain(&mut self, out: &mpsc::Sender<std::io::Result<Bytes>>) -> std::io::Result<bool> {
        loop {
            let mut piece = Vec::new();
            let mut at_end = false;
            while piece.len() < PIECE && !self.filter.is_full() {
                let read = self.file.read_until(b'\n', &mut self.rest)?;
                if read == 0 || self.rest.last() != Some(&b'\n') {
                    at_end = true;
                    break;
                }
                self.filter.push(&self.rest, &mut piece);
                self.rest.clear();
            }
            if !piece.is_empty() && out.send(Ok(Bytes::from(piece))).await.is_err() {
                return Ok(false);
            }
            if self.filter.is_full() {
                return Ok(false);
            }
            if at_end {
                return Ok(true);
            }
        }
    }

    /// Whether the path leads to another file than the one being read.
    fn was_replaced(&self, path: &Path) -> std::io::Result<bool> {
        let open = self.file.get_ref().metadata()?.ino();
        match std::fs::metadata(path) {
            Ok(meta) => Ok(meta.ino() != open),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Returns when a container has ended; never when there is none to watch.
async fn container_end(container: Option<&(Arc<dyn RuntimeService>, String)>) {
    use futures::StreamExt as _;
    let Some((runtime, id)) = container else { return std::future::pending().await };
    loop {
        let events = runtime.get_container_events().await;
        match runtime.container_status(id).await {
            Ok(status) if status.state == ContainerState::Exited => return,
            Err(Error::NotFound(_)) => return,
            _ => {}
        }
        match events {
            Ok(mut events) => {
                while events.next().await.is_some_and(|event| event.container_id != *id) {}
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_secs(1)).await,
        }
    }
}

/// Where the last lines begin. (Upstream counts lines of the file, partial ones too.)
fn tail_start(file: &mut File, lines: usize) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    let mut position = length;
    let mut found = 0;
    let mut block = Vec::new();
    while position > 0 {
        let size = BLOCK.min(position);
        position -= size;
        file.seek(SeekFrom::Start(position))?;
        block.clear();
        Read::by_ref(file).take(size).read_to_end(&mut block)?;
        for (at, byte) in block.iter().enumerate().rev() {
            let offset = position + u64::try_from(at).unwrap_or_default();
            // The line end of the last line does not begin another one.
            if *byte == b'\n' && offset + 1 < length {
                found += 1;
                if found == lines {
                    return Ok(offset + 1);
                }
            }
            if lines == 0 {
                return Ok(length);
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    async fn next(receiver: &mut mpsc::Receiver<std::io::Result<Bytes>>) -> String {
        String::from_utf8(receiver.recv().await.unwrap().unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_end_is_found_and_growth_is_followed_over_a_turn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let line = |text: &str| format!("2026-01-01T00:00:00Z stdout F {text}\n");
        std::fs::write(&path, line("a") + &line("b") + &line("c")).unwrap();
        let (sender, mut receiver) = mpsc::channel(8);
        let wanted = Wanted { follow: true, tail: Some(2), ..Wanted::default() };
        let reader = Reader::open(&path, wanted).unwrap();
        let reading = tokio::spawn(read(reader, path.clone(), None, sender));
        assert_eq!(next(&mut receiver).await, "b\nc\n");
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        file.write_all(line("d").as_bytes()).unwrap();
        assert_eq!(next(&mut receiver).await, "d\n");
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        std::fs::write(&path, line("e")).unwrap();
        assert_eq!(next(&mut receiver).await, "e\n");
        drop(receiver);
        reading.await.unwrap();
    }

    #[tokio::test]
    async fn tail_zero_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, "2026-01-01T00:00:00Z stdout F a\n").unwrap();
        let (sender, mut receiver) = mpsc::channel(8);
        let reader = Reader::open(&path, Wanted { tail: Some(0), ..Wanted::default() }).unwrap();
        read(reader, path, None, sender).await;
        assert!(receiver.recv().await.is_none());
    }
}
