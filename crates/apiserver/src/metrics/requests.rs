//! The counters of the requests with the same labels.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;

/// Upstream's buckets of `apiserver_request_duration_seconds`, and of the store's times.
pub(crate) const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];
const BYTES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// The codes that are counted without a lock.
const CODES: [u16; 20] = [
    101, 200, 201, 202, 304, 400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429, 500, 503,
    504,
];

/// The counters.
#[derive(Debug)]
pub(crate) struct RequestSeries {
    codes: [Counter; CODES.len()],
    other_codes: Mutex<BTreeMap<u16, u64>>,
    /// From the request to its answer, and that without the time that it waited for others.
    pub(super) times: OnceLock<[Histogram; 2]>,
    pub(super) sizes: OnceLock<Histogram>,
    pub(super) lasting: Gauge,
}

impl Default for RequestSeries {
    fn default() -> Self {
        Self {
            codes: Default::default(),
            other_codes: Mutex::default(),
            times: OnceLock::new(),
            sizes: OnceLock::new(),
            lasting: Gauge::new(),
        }
    }
}

impl RequestSeries {
    /// Counts an answered request.
    pub(crate) fn observe(
        &self,
        code: u16,
        times: (Duration, Duration),
        bytes: Option<u64>,
        is_lasting: bool,
    ) {
        match CODES.binary_search(&code) {
            Ok(at) => self.codes[at].inc(),
            Err(_) => *self.other_codes.lock().entry(code).or_default() += 1,
        }
        // How long a watch lasts says nothing about the server.
        if !is_lasting {
            let [whole, worked] =
                self.times.get_or_init(|| [Histogram::new(SECONDS), Histogram::new(SECONDS)]);
            whole.observe_duration(times.0);
            worked.observe_duration(times.1);
        }
        if let Some(bytes) = bytes {
            self.sizes.get_or_init(|| Histogram::new(BYTES)).observe(bytes as f64);
        }
    }

    /// How many had each code.
    pub(super) fn by_code(&self) -> Vec<(u16, u64)> {
        let mut all: BTreeMap<u16, u64> = self.other_codes.lock().clone();
        for (code, count) in CODES.iter().zip(&self.codes) {
            if count.get() > 0 {
                all.insert(*code, count.get());
            }
        }
        all.into_iter().collect()
    }
}

/// A lasting request, counted while anybody holds this.
#[derive(Debug)]
pub(crate) struct Lasting(Arc<RequestSeries>);

impl Lasting {
    /// Begins to count one.
    pub(crate) fn begin(series: &Arc<RequestSeries>) -> Arc<Self> {
        series.lasting.add(1);
        Arc::new(Self(series.clone()))
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.0.lasting.add(-1);
    }
}
