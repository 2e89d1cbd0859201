//! What Ferry and a shim say to each other, over a unix socket in the pod's folder.
//!
//! A frame is a length (u32, little endian) and that many bytes of JSON. One connection is one
//! operation: a request goes in, one or more messages come out, and for exec and attach the
//! connection lasts as long as the operation; hanging up ends it. Descriptors travel with the
//! first byte of a frame.
//!
//! Shims outlive the Ferry that started them, so the protocol only ever grows: a shim answers a
//! request that it does not know with [`Message::Failed`], both sides skip fields that they do
//! not know, and [`Message::Hello`] carries the version that the shim was built with.

use std::io;

use serde::{Deserialize, Serialize};

/// The version of this protocol.
pub(crate) const VERSION: u32 = 1;

/// The largest frame that either side accepts.
pub(crate) const FRAME_BYTES_MAX: usize = 4 << 20;

/// What Ferry asks of a shim.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Answers [`Message::Hello`], then every [`Message::Exited`] from then on.
    Watch,
    /// Creates and starts a container: [`Message::Started`] or [`Message::Failed`].
    Start(Start),
    /// Runs a command: [`Message::Started`], then [`Message::Exited`]. Carries stdin, stdout and
    /// stderr unless there is a terminal; with one, the answer carries its master side.
    Exec {
        /// The container.
        id: String,
        /// Program and arguments.
        cmd: Vec<String>,
        /// With a terminal.
        tty: bool,
    },
    /// Joins a container's streams until it exits: [`Message::Done`], then [`Message::Exited`].
    /// Carries one descriptor for each `true`.
    Attach {
        /// The container.
        id: String,
        /// Bytes for its standard input.
        stdin: bool,
        /// Where its standard output goes.
        stdout: bool,
        /// Where its standard error goes.
        stderr: bool,
    },
    /// Changes the size of a container's terminal: [`Message::Done`].
    Resize {
        /// The container.
        id: String,
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Sends a signal to a container's first process: [`Message::Done`].
    Kill {
        /// The container.
        id: String,
        /// Its number.
        signal: i32,
    },
    /// Opens a container's log anew: [`Message::Done`].
    Reopen {
        /// The container.
        id: String,
    },
    /// Forgets a container that has ended: [`Message::Done`].
    Forget {
        /// The container.
        id: String,
    },
    /// Ends all containers and then the shim itself, which hangs up.
    Shutdown,
}

/// How to start a container.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Start {
    /// Its id.
    pub(crate) id: String,
    /// Its folder, which holds `create.json` for the helper.
    pub(crate) dir: String,
    /// With a terminal.
    pub(crate) tty: bool,
    /// Whether it has a standard input.
    pub(crate) stdin: bool,
    /// Whether that is closed when the first to attach leaves.
    pub(crate) stdin_once: bool,
    /// The log; empty for none.
    pub(crate) log_path: String,
    /// A `cgroup.procs` whose processes are killed when the container ends; empty when its PID
    /// namespace takes care of that.
    pub(crate) cgroup_procs: String,
}

/// What a shim answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The first answer to [`Request::Watch`].
    Hello {
        /// Of the shim's protocol.
        version: u32,
        /// The shim's process.
        pid: i32,
        /// All containers that it knows.
        containers: Vec<Known>,
    },
    /// It was done.
    Done,
    /// It could not be done.
    Failed {
        /// What kind of failure.
        kind: Failure,
        /// Why.
        message: String,
    },
    /// A process runs.
    Started {
        /// Its number on the host.
        pid: i32,
        /// The user that the container was resolved to.
        user: Option<User>,
    },
    /// To watchers: a container runs. It may have been asked for by a Ferry that is gone.
    Running(Known),
    /// A container's first process, or a command, has ended.
    Exited {
        /// The container.
        id: String,
        /// How.
        exit: Exit,
    },
}

/// Kinds of failure that Ferry tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// No such container.
    NotFound,
    /// Not in a state for it.
    Precondition,
    /// The program could not be started.
    Start,
    /// The shim does not know the request.
    Unknown,
}

/// A container as a shim knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Its id.
    pub(crate) id: String,
    /// Its first process.
    pub(crate) pid: i32,
    /// When it was started, nanoseconds since 1970.
    pub(crate) started_at: i64,
    /// How it ended, if it did.
    pub(crate) exit: Option<Exit>,
    /// The user that it was resolved to.
    pub(crate) user: Option<User>,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Exit code; 128 + signal for one that was killed.
    pub(crate) code: i32,
    /// When, nanoseconds since 1970.
    pub(crate) at: i64,
}

/// Numeric identity of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Supplemental groups.
    pub(crate) groups: Vec<u32>,
}

/// A message as a frame.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame is too large"));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
    Ok(frame)
}

/// Takes the first whole frame off a buffer; none when it is not all there yet.
pub(crate) fn take_frame(buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let Some((head, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too large"));
    }
    if rest.len() < length {
        return Ok(None);
    }
    let frame = rest[..length].to_vec();
    buffer.drain(..4 + length);
    Ok(Some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_where_they_were_put_together() {
        let mut buffer = encode(&Request::Shutdown).unwrap();
        buffer.extend(encode(&Request::Reopen { id: "a".into() }).unwrap());
        let whole = buffer.clone();
        buffer.truncate(3);
        assert!(take_frame(&mut buffer).unwrap().is_none());
        buffer = whole;
        let first = take_frame(&mut buffer).unwrap().unwrap();
        assert!(matches!(serde_json::from_slice(&first).unwrap(), Request::Shutdown));
        let second = take_frame(&mut buffer).unwrap().unwrap();
        assert!(matches!(serde_json::from_slice(&second).unwrap(), Request::Reopen { .. }));
        assert!(buffer.is_empty());
        assert!(take_frame(&mut vec![255; 8]).is_err());
    }
}
