//! `exec`: whether a command in the container ends with 0.

use std::time::Duration;

use container_runtime::{Error, RuntimeService};

use super::Outcome;

/// What of a command's output goes into messages.
const OUTPUT_MAX: usize = 10 << 10;

/// Tries once.
pub(crate) async fn probe(
    runtime: &dyn RuntimeService,
    container_id: &str,
    command: &[String],
    timeout: Duration,
) -> Outcome {
    match runtime.exec_sync(container_id, command, timeout).await {
        Ok(answer) if answer.exit_code == 0 => Outcome::Success,
        Ok(answer) => {
            let mut output = answer.stdout.to_vec();
            output.extend_from_slice(&answer.stderr);
            output.truncate(OUTPUT_MAX);
            Outcome::Failure(String::from_utf8_lossy(&output).into_owned())
        }
        Err(Error::DeadlineExceeded(_)) => {
            let words = command.join(" ");
            Outcome::Failure(format!(
                "command timed out: \"{words}\" timed out after {}s",
                timeout.as_secs()
            ))
        }
        Err(error) => {
            Outcome::Error(format!("rpc error: code = {} desc = {}", error.code(), error.message()))
        }
    }
}
