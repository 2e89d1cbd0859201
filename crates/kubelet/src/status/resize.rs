//! The two conditions of a resize: `PodResizePending` while the node has not given what is asked for,
//! `PodResizeInProgress` while what was given is not in force. Pure.
//!
//! (Kubernetes `pkg/kubelet/status/status_manager.go`)

use base::clock::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::allocation::Standing;

const PENDING: &str = "PodResizePending";
const IN_PROGRESS: &str = "PodResizeInProgress";

/// How a pod's resize stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Resizing {
    pending: Option<PodCondition>,
    in_progress: Option<PodCondition>,
    /// The last generation of which it was noted that it was given.
    accepted: i64,
}

/// What is to be told about a resize.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It waits, for this reason.
    Pending(String, i64),
    /// It was given, and begins.
    Started(i64),
    /// It is in force.
    Completed(i64),
}

impl Resizing {
    /// As an earlier kubelet left it in a pod's status.
    pub(crate) fn of(pod: &Pod) -> Self {
        let all = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
        let find = |name| all.unwrap_or_default().iter().find(|one| one.type_ == name).cloned();
        Self { pending: find(PENDING), in_progress: find(IN_PROGRESS), accepted: 0 }
    }

    /// Both conditions, as far as they hold.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &PodCondition> {
        self.pending.iter().chain(&self.in_progress)
    }

    /// Follows what the node gives.
    pub(crate) fn follow(&mut self, standing: &Standing, now: Timestamp) -> Vec<News> {
        let mut news = Vec::new();
        match &standing.pending {
            None => self.pending = None,
            Some(why) => {
                let new = condition(PENDING, "Deferred", &why.message, why.generation, now);
                let old = self.pending.as_ref();
                if old.is_none_or(|old| {
                    old.reason != new.reason || old.observed_generation != new.observed_generation
                }) {
                    news.push(News::Pending(why.message.clone(), why.generation));
                }
                self.pending = Some(since(new, old));
            }
        }
        if standing.accepted != 0 && standing.accepted != self.accepted {
            self.accepted = standing.accepted;
            // Errors of an earlier resize are not this one's.
            self.in_progress = Some(condition(IN_PROGRESS, "", "", standing.accepted, now));
            news.push(News::Started(standing.accepted));
        }
        news
    }

    /// Notes whether something still has to be brought to what was given.
    pub(crate) fn progress(
        &mut self,
        under_way: bool,
        generation: i64,
        now: Timestamp,
    ) -> Option<News> {
        if under_way {
            self.in_progress.get_or_insert_with(|| condition(IN_PROGRESS, "", "", generation, now));
            return None;
        }
        let done = self.in_progress.take()?;
        Some(News::Completed(done.observed_generation.unwrap_or_default()))
    }

    /// Notes that it could not be brought into force; the generation, when that is news.
    pub(crate) fn failed(&mut self, error: &str, generation: i64, now: Timestamp) -> Option<i64> {
        let old = self.in_progress.take();
        let generation = old.as_ref().and_then(|old| old.observed_generation).unwrap_or(generation);
        let new = condition(IN_PROGRESS, "Error", error, generation, now);
        let same = old
            .as_ref()
            .is_some_and(|old| (&old.reason, &old.message) == (&new.reason, &new.message));
        self.in_progress = Some(since(new, old.as_ref()));
        (!same).then_some(generation)
    }

    /// Nothing is resized any more: the pod has ended.
    pub(crate) fn clear(&mut self) {
        (self.pending, self.in_progress) = (None, None);
    }
}

fn condition(
    name: &str,
    reason: &str,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> PodCondition {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    // Whole seconds, so that what we wrote and what we read again are equal.
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    PodCondition {
        type_: name.to_owned(),
        status: "True".to_owned(),
        reason: text(reason),
        message: text(message),
        last_probe_time: Some(now.clone()),
        last_transition_time: Some(now),
        observed_generation: Some(generation),
    }
}

/// The time at which a condition began is that at which its reason did; one that says the same as
/// before stays as it was.
fn since(mut new: PodCondition, old: Option<&PodCondition>) -> PodCondition {
    let Some(old) = old.filter(|old| old.reason == new.reason) else { return new };
    new.last_transition_time.clone_from(&old.last_transition_time);
    if (&old.message, old.observed_generation) == (&new.message, new.observed_generation) {
        new.last_probe_time.clone_from(&old.last_probe_time);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::Pending;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn shown(resizing: &Resizing) -> Vec<String> {
        let show = |one: &PodCondition| {
            let since = one.last_transition_time.as_ref().map(|time| time.0.as_second());
            let reason = one.reason.as_deref().unwrap_or("-");
            let generation = one.observed_generation.unwrap_or_default();
            format!("{} {reason} {generation} {}", one.type_, since.unwrap_or_default())
        };
        resizing.conditions().map(show).collect()
    }

    #[test]
    fn a_resize_waits_begins_fails_and_ends() {
        let mut resizing = Resizing::default();
        let waits = |generation| Standing {
            pending: Some(Pending { message: "full".into(), generation }),
            ..Standing::default()
        };
        assert_eq!(resizing.follow(&waits(2), at(1)), [News::Pending("full".into(), 2)]);
        assert_eq!(resizing.follow(&waits(2), at(2)), []);
        assert_eq!(resizing.follow(&waits(3), at(3)), [News::Pending("full".into(), 3)]);
        assert_eq!(shown(&resizing), ["PodResizePending Deferred 3 1"]);
        let given = Standing { accepted: 3, ..Standing::default() };
        assert_eq!(resizing.follow(&given, at(4)), [News::Started(3)]);
        assert_eq!(resizing.progress(true, 9, at(5)), None);
        assert_eq!(shown(&resizing), ["PodResizeInProgress - 3 4"]);
        assert_eq!(resizing.failed("no", 9, at(6)), Some(3));
        assert_eq!(resizing.failed("no", 9, at(7)), None);
        assert_eq!(resizing.progress(true, 9, at(8)), None);
        assert_eq!(shown(&resizing), ["PodResizeInProgress Error 3 6"]);
        assert_eq!(resizing.progress(false, 9, at(9)), Some(News::Completed(3)));
        assert_eq!(resizing.follow(&given, at(9)), []);
        assert_eq!(shown(&resizing), [""; 0]);
    }
}
