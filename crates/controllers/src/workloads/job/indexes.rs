//! Sets of completion indexes, as a Job's status writes them: `0,2-4`. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

/// Names the index of a pod.
pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Reads a set; what cannot be read, and what is beyond `end`, is left out.
pub(crate) fn parse(text: &str, end: i32) -> BTreeSet<i32> {
    let mut set = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(from), Ok(to)) = (from.parse::<i32>(), to.parse::<i32>()) {
            set.extend(from.max(0)..=to.min(end - 1));
        }
    }
    set
}

/// Writes a set, runs of three and more as `first-last`, pairs too.
pub(crate) fn render(set: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for index in set {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let words: Vec<_> = runs
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    words.join(",")
}

/// The index of a pod.
pub(crate) fn of(pod: &Pod) -> Option<i32> {
    let annotations = pod.metadata.annotations.as_ref().and_then(|all| all.get(INDEX));
    let labels = pod.metadata.labels.as_ref().and_then(|all| all.get(INDEX));
    annotations.or(labels)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_read_as_they_are_written() {
        let check = |text: &str, expected: &str| {
            assert_eq!(render(&parse(text, 10)), expected);
        };
        check("", "");
        check("0,2-4", "0,2-4");
        check("1,2", "1,2");
        check("3,1,2", "1-3");
        check("8-20", "8,9");
        check("x,5", "5");
    }
}
