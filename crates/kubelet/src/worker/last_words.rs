//! What a container that ended wrote for those who look at it: its termination message.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use container_runtime::ContainerStatus;

use crate::config::labels;
use crate::logs::line;

const FILE_BYTES_MAX: u64 = 4096;
const LOG_BYTES_MAX: u64 = 2048;
const LOG_LINES_MAX: usize = 80;

/// The message of a container that ended. (`getTerminationMessage`)
pub(crate) fn last_words(status: &ContainerStatus) -> String {
    let path = status.annotations.get(labels::MESSAGE_PATH);
    let mount =
        path.and_then(|path| status.mounts.iter().find(|mount| mount.container_path == *path));
    let mut text = mount.map(|mount| head(Path::new(&mount.host_path))).unwrap_or_default();
    let fall_back = status
        .annotations
        .get(labels::MESSAGE_POLICY)
        .is_some_and(|policy| policy == "FallbackToLogsOnError");
    if text.is_empty() && fall_back && status.exit_code != 0 {
        text = tail(Path::new(&status.log_path));
    }
    match (status.message.as_str(), text.as_str()) {
        ("", _) => text,
        (message, "") => message.to_owned(),
        (message, text) => format!("{message}: {text}"),
    }
}

fn head(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines of a log in CRI's format, without what the format adds.
fn tail(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        // Each line carries a stamp; twice the size holds enough.
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_MAX * 2)))?;
        file.read_to_end(&mut bytes)
    });
    if read.is_err() {
        return String::new();
    }
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter_map(line::parse);
    let texts: Vec<&[u8]> = lines.map(|line| line.text).collect();
    let last = texts[texts.len().saturating_sub(LOG_LINES_MAX)..].concat();
    let mut out = String::from_utf8_lossy(&last).into_owned();
    let excess = out.len().saturating_sub(usize::try_from(LOG_BYTES_MAX).unwrap_or(usize::MAX));
    let cut = (excess..out.len()).find(|at| out.is_char_boundary(*at)).unwrap_or(out.len());
    out.split_off(cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use container_runtime::Mount;

    #[test]
    fn words_come_from_the_file_and_else_from_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let (file, log) = (dir.path().join("words"), dir.path().join("0.log"));
        std::fs::write(&file, "").unwrap();
        std::fs::write(
            &log,
            "2026-01-01T00:00:00Z stdout F first\n2026-01-01T00:00:01Z stderr F last\n",
        )
        .unwrap();
        let mut status = ContainerStatus {
            exit_code: 1,
            log_path: log.display().to_string(),
            mounts: vec![Mount {
                container_path: "/dev/termination-log".into(),
                host_path: file.display().to_string(),
                ..Mount::default()
            }],
            annotations: [
                (labels::MESSAGE_PATH.to_owned(), "/dev/termination-log".to_owned()),
                (labels::MESSAGE_POLICY.to_owned(), "FallbackToLogsOnError".to_owned()),
            ]
            .into(),
            ..ContainerStatus::default()
        };
        assert_eq!(last_words(&status), "first\nlast\n");
        std::fs::write(
            &log,
            "2026-01-01T00:00:00Z stdout P DO\n2026-01-01T00:00:01Z stdout P NE\n",
        )
        .unwrap();
        assert_eq!(last_words(&status), "DONE", "what has no end of line gets none");
        std::fs::write(&file, "DONE").unwrap();
        assert_eq!(last_words(&status), "DONE");
        std::fs::write(&file, "").unwrap();
        status.exit_code = 0;
        assert_eq!(last_words(&status), "");
    }
}
