//! How many seats a priority level wants: integrated over time, smoothed over periods. Pure.

/// Nanoseconds since the process began to count.
pub(crate) type Nanos = u64;

/// How much of the smoothed demand is left after a period; upstream's
/// `seatDemandSmoothingCoefficient`.
const SMOOTHING: f64 = 0.977;

/// The demand of the present period.
#[derive(Debug, Default)]
pub(crate) struct Integrator {
    now: u32,
    since: Nanos,
    started: Nanos,
    sum: f64,
    squares: f64,
    peak: u32,
}

/// What a period was like.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Observation {
    pub(crate) average: f64,
    pub(crate) deviation: f64,
    pub(crate) peak: u32,
}

impl Integrator {
    /// The demand is so many seats from now on.
    pub(crate) fn set(&mut self, at: Nanos, demand: u32) {
        self.advance(at);
        self.now = demand;
        self.peak = self.peak.max(demand);
    }

    fn advance(&mut self, at: Nanos) {
        let seconds = at.saturating_sub(self.since) as f64 / 1e9;
        let demand = f64::from(self.now);
        self.sum += demand * seconds;
        self.squares += demand * demand * seconds;
        self.since = self.since.max(at);
    }

    /// Ends the period and begins another.
    pub(crate) fn reset(&mut self, at: Nanos) -> Observation {
        self.advance(at);
        let seconds = at.saturating_sub(self.started) as f64 / 1e9;
        let average = if seconds > 0.0 { self.sum / seconds } else { 0.0 };
        let mean_square = if seconds > 0.0 { self.squares / seconds } else { 0.0 };
        let observation = Observation {
            average,
            deviation: (mean_square - average * average).max(0.0).sqrt(),
            peak: self.peak,
        };
        *self = Self { now: self.now, since: at, started: at, peak: self.now, ..Self::default() };
        observation
    }
}

/// The demand over periods.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Demand {
    pub(crate) last: Observation,
    pub(crate) smoothed: f64,
}

impl Demand {
    /// Takes in a period: up at once, down slowly.
    pub(crate) fn update(&mut self, observation: Observation) {
        let envelope = observation.average + observation.deviation;
        self.smoothed = envelope.max(SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * envelope);
        self.last = observation;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_averaged_over_time() {
        let mut integrator = Integrator::default();
        integrator.set(0, 4);
        integrator.set(500_000_000, 0);
        let seen = integrator.reset(1_000_000_000);
        assert_eq!(seen, Observation { average: 2.0, deviation: 2.0, peak: 4 });
        assert_eq!(integrator.reset(2_000_000_000), Observation::default());
    }

    #[test]
    fn demand_rises_at_once_and_falls_slowly() {
        let mut demand = Demand::default();
        demand.update(Observation { average: 100.0, deviation: 0.0, peak: 100 });
        assert!((demand.smoothed - 100.0).abs() < 1e-9);
        demand.update(Observation::default());
        assert!((demand.smoothed - 97.7).abs() < 1e-9);
    }
}
