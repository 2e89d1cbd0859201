//! One probe's judgement: results in, verdicts out. Pure.
//!
//! The rules are upstream's (`pkg/kubelet/prober/worker.go`): a verdict changes only after enough
//! equal results in a row; a failed liveness or startup probe holds until the container is another.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ProbeKind {
    /// Restarts the container when it fails.
    Liveness,
    /// Takes the pod out of services when it fails.
    Readiness,
    /// Holds the others back until it succeeds.
    Startup,
}

impl ProbeKind {
    /// Its name in messages.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
            Self::Startup => "Startup",
        }
    }

    /// The verdict before the first result.
    pub(crate) fn initially(self) -> Option<bool> {
        match self {
            Self::Liveness => Some(true),
            Self::Readiness => Some(false),
            Self::Startup => None,
        }
    }
}

/// A probe's numbers with upstream's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long after the container's start the first one is made.
    pub(crate) initial_delay: Duration,
    /// How often.
    pub(crate) period: Duration,
    /// How long each may take.
    pub(crate) timeout: Duration,
    /// How many successes in a row make a success.
    pub(crate) success_threshold: u32,
    /// How many failures in a row make a failure.
    pub(crate) failure_threshold: u32,
}

impl Settings {
    /// The numbers of a probe.
    pub(crate) fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64, min: u64| {
            let given =
                value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
            Duration::from_secs(given.unwrap_or(default).max(min))
        };
        let count = |value: Option<i32>, default: u32| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .filter(|value| *value > 0)
                .unwrap_or(default)
        };
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0, 0),
            period: seconds(probe.period_seconds, 10, 1),
            timeout: seconds(probe.timeout_seconds, 1, 1),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
        }
    }
}

/// The state of one probe of one container.
#[derive(Debug, Clone)]
pub(crate) struct ProbeState {
    kind: ProbeKind,
    last: Option<bool>,
    run: u32,
    held: bool,
}

impl ProbeState {
    /// A probe without results.
    pub(crate) fn new(kind: ProbeKind) -> Self {
        Self { kind, last: None, run: 0, held: false }
    }

    /// Whether no more probing is wanted until the container is another.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Takes a result; the verdict, when there is enough for one.
    pub(crate) fn observe(&mut self, success: bool, settings: &Settings) -> Option<bool> {
        if self.last == Some(success) {
            self.run += 1;
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        let enough = if success { settings.success_threshold } else { settings.failure_threshold };
        if self.run < enough {
            return None;
        }
        let final_failure = !success && self.kind != ProbeKind::Readiness;
        let final_success = success && self.kind == ProbeKind::Startup;
        if final_failure || final_success {
            self.held = true;
            self.run = 0;
        }
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ProbeKind, success: u32, failure: u32, results: &str, expected: &str) {
        let probe = Probe {
            success_threshold: i32::try_from(success).ok(),
            failure_threshold: i32::try_from(failure).ok(),
            ..Probe::default()
        };
        let settings = Settings::of(&probe);
        let mut state = ProbeState::new(kind);
        let got: String = results
            .chars()
            .map(|c| match state.observe(c == '+', &settings) {
                _ if state.is_held() => '!',
                Some(true) => '+',
                Some(false) => '-',
                None => '.',
            })
            .collect();
        assert_eq!(got, expected, "{kind:?} {results}");
    }

    #[test]
    fn verdicts_need_enough_results_in_a_row() {
        check(ProbeKind::Readiness, 1, 3, "+--+---+", "+..+..-+");
        check(ProbeKind::Readiness, 2, 1, "+-++-", ".-.+-");
        check(ProbeKind::Liveness, 1, 2, "+-+--", "+.+.!");
        check(ProbeKind::Startup, 1, 3, "--+", "..!");
    }

    #[test]
    fn defaults_are_upstreams() {
        let settings = Settings::of(&Probe::default());
        assert_eq!(settings.period, Duration::from_secs(10));
        assert_eq!(settings.timeout, Duration::from_secs(1));
        assert_eq!((settings.success_threshold, settings.failure_threshold), (1, 3));
    }
}
