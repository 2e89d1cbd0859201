//! Slow start: one request, then two, then four, as long as all go well.
//!
//! A quota that lets none through is thus asked once, not five hundred times; and a thousand pods
//! are made in ten rounds. (Kubernetes `slowStartBatch`)

use futures::future::{BoxFuture, join_all};
use reconcile::Failure;

/// How many were done, and the first failure.
pub(crate) struct Outcome {
    pub(crate) done: usize,
    pub(crate) failure: Option<Failure>,
}

/// Does something `count` times in growing batches, until one fails.
pub(crate) async fn slow_start<'a>(
    count: usize,
    mut start: impl FnMut() -> BoxFuture<'a, Result<(), Failure>>,
) -> Outcome {
    let (mut done, mut batch) = (0, 1);
    while done < count {
        let results = join_all((0..batch.min(count - done)).map(|_| start())).await;
        let failure = results.iter().find_map(|result| result.as_ref().err().cloned());
        done += results.iter().filter(|result| result.is_ok()).count();
        if failure.is_some() {
            return Outcome { done, failure };
        }
        batch *= 2;
    }
    Outcome { done, failure: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use reconcile::Class;

    #[tokio::test]
    async fn a_failure_ends_it() {
        let mut asked = 0;
        let outcome = slow_start(100, || {
            asked += 1;
            let result = if asked <= 4 {
                Ok(())
            } else {
                Err(Failure {
                    class: Class::Forbidden,
                    attempt: "create".into(),
                    message: "exceeded quota".into(),
                    retry_after: None,
                })
            };
            async move { result }.boxed()
        })
        .await;
        assert_eq!((outcome.done, asked), (4, 7), "batches of 1, 2 and 4");
        assert!(outcome.failure.is_some());
    }
}
