//! Orderly shutdown: parts stop in the reverse of the order in which they were named.
//!
//! A part takes a [`Drain`] token, finishes what it does when the token fires and returns. The
//! composition calls [`Drains::drain`], which fires one stage, waits for that stage's tasks, and
//! goes on to the stage before it.

use std::time::Duration;

pub use tokio_util::sync::CancellationToken as Drain;
use tokio_util::task::TaskTracker;

/// The stages of a process, in the order in which they were started.
#[derive(Debug, Default)]
pub struct Drains {
    stages: Vec<Stage>,
}

/// One stage: tasks that stop together.
#[derive(Debug, Clone)]
pub struct Stage {
    name: &'static str,
    token: Drain,
    tasks: TaskTracker,
}

impl Stage {
    /// The token that fires when this stage must stop.
    #[must_use]
    pub fn token(&self) -> Drain {
        self.token.clone()
    }

    /// Runs a task that belongs to this stage.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(task);
    }
}

impl Drains {
    /// Adds a stage that is drained before all stages added earlier.
    pub fn stage(&mut self, name: &'static str) -> Stage {
        let stage = Stage { name, token: Drain::new(), tasks: TaskTracker::new() };
        self.stages.push(stage.clone());
        stage
    }

    /// Stops every stage, the newest first. A stage gets at most `limit`; the names of those that
    /// did not end in time are returned.
    pub async fn drain(self, limit: Duration) -> Vec<&'static str> {
        let mut late = Vec::new();
        for stage in self.stages.into_iter().rev() {
            stage.token.cancel();
            stage.tasks.close();
            if tokio::time::timeout(limit, stage.tasks.wait()).await.is_err() {
                late.push(stage.name);
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test(start_paused = true)]
    async fn stages_stop_newest_first_and_late_ones_are_named() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut drains = Drains::default();
        for name in ["store", "apiserver", "stuck"] {
            let stage = drains.stage(name);
            let (token, order) = (stage.token(), order.clone());
            stage.spawn(async move {
                token.cancelled().await;
                order.lock().unwrap().push(name);
                if name == "stuck" {
                    std::future::pending::<()>().await;
                }
            });
        }
        assert_eq!(drains.drain(Duration::from_secs(1)).await, ["stuck"]);
        assert_eq!(*order.lock().unwrap(), ["stuck", "apiserver", "store"]);
    }
}
