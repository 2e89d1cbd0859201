//! A priority level at work: its queues behind a lock that nobody holds while waiting, and the
//! seats of the requests that run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use api::k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;
use base::metrics::Counter;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::borrow::{Limits, Shares};
use crate::demand::{Demand, Integrator, Nanos};
use crate::estimate::Work;
use crate::flows::FlowStats;
use crate::queues::{Arrival, Queues, Refused, Running, Ticket, Waiting};
use crate::retry::RetryAfter;

/// A priority level's configuration, as far as it is used here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LevelConfig {
    pub(crate) shares: Shares,
    pub(crate) waiting: Waiting,
}

impl LevelConfig {
    pub(crate) fn of(object: &PriorityLevelConfiguration) -> Self {
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        let spec = object.spec.as_ref();
        let exempt = spec.and_then(|spec| spec.exempt.as_ref());
        let limited = spec.and_then(|spec| spec.limited.as_ref());
        let Some(limited) = limited else {
            return Self {
                shares: Shares {
                    shares: number(exempt.and_then(|own| own.nominal_concurrency_shares))
                        .unwrap_or(0),
                    lendable_percent: number(exempt.and_then(|own| own.lendable_percent))
                        .unwrap_or(0),
                    borrowing_percent: None,
                },
                waiting: Waiting::Exempt,
            };
        };
        let queuing = limited.limit_response.as_ref().and_then(|one| one.queuing.as_ref());
        let size = |value: Option<i32>, default| {
            value.and_then(|value| usize::try_from(value).ok()).unwrap_or(default)
        };
        Self {
            shares: Shares {
                shares: number(limited.nominal_concurrency_shares).unwrap_or(30),
                lendable_percent: number(limited.lendable_percent).unwrap_or(0),
                borrowing_percent: number(limited.borrowing_limit_percent),
            },
            waiting: queuing.map_or(Waiting::Reject, |queuing| Waiting::Queue {
                queues: size(queuing.queues, 64).max(1),
                hand: size(queuing.hand_size, 8).max(1),
                length: size(queuing.queue_length_limit, 50),
            }),
        }
    }
}

/// How a waiting request is woken: with its seats.
pub(crate) type Waiter = oneshot::Sender<Running>;

pub(crate) struct State {
    pub(crate) config: LevelConfig,
    pub(crate) limits: Limits,
    pub(crate) queues: Queues<Waiter>,
    pub(crate) integrator: Integrator,
    pub(crate) demand: Demand,
    /// The last target of the division of seats, for metrics.
    pub(crate) target: f64,
}

/// A priority level.
pub(crate) struct Level {
    started: Instant,
    /// The nominal limit, readable without the lock.
    nominal: AtomicU32,
    pub(crate) state: Mutex<State>,
    pub(crate) retry_after: RetryAfter,
    pub(crate) refused: Counter,
}

/// What came of asking for seats.
pub(crate) enum Asked {
    Runs(Running),
    Waits(Ticket, oneshot::Receiver<Running>),
    Refused(Refused),
}

impl Level {
    pub(crate) fn new(config: LevelConfig, limits: Limits, started: Instant) -> Self {
        let state = State {
            queues: Queues::new(config.waiting, limits.nominal),
            config,
            limits,
            integrator: Integrator::default(),
            demand: Demand::default(),
            target: 0.0,
        };
        Self {
            started,
            nominal: AtomicU32::new(limits.nominal),
            state: Mutex::new(state),
            retry_after: RetryAfter::default(),
            refused: Counter::new(),
        }
    }

    /// How many seats the level has by its shares.
    pub(crate) fn nominal(&self) -> u32 {
        self.nominal.load(Relaxed)
    }

    pub(crate) fn now(&self) -> Nanos {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes on another configuration.
    pub(crate) fn configure(&self, config: LevelConfig, limits: Limits) {
        let mut state = self.state.lock();
        if state.config == config && state.limits == limits {
            return;
        }
        state.queues.configure(config.waiting);
        state.config = config;
        state.limits = limits;
        self.nominal.store(limits.nominal, Relaxed);
        drop(state);
        self.set_limit(limits.nominal);
    }

    /// Changes how many seats the level has.
    pub(crate) fn set_limit(&self, limit: u32) {
        let now = self.now();
        let mut state = self.state.lock();
        let begun = state.queues.set_limit(now, limit);
        self.wake(&mut state, now, begun);
    }

    /// Asks for seats.
    pub(crate) fn ask(&self, flow: u64, work: Work, always: bool) -> Asked {
        let now = self.now();
        let mut state = self.state.lock();
        let mut receiver = None;
        let arrival = state.queues.arrive(now, flow, work, always, || {
            let (sender, own) = oneshot::channel();
            receiver = Some(own);
            sender
        });
        let asked = match (arrival, receiver) {
            (Arrival::Runs(running), _) => Asked::Runs(running),
            (Arrival::Waits(ticket), Some(receiver)) => {
                // It may be before others in its turn.
                let begun = state.queues.begin_waiting(now);
                self.wake(&mut state, now, begun);
                Asked::Waits(ticket, receiver)
            }
            (Arrival::Refused(why), _) => Asked::Refused(why),
            (Arrival::Waits(_), None) => unreachable!("a waiting request has made its waiter"),
        };
        let demand = state.queues.demand();
        state.integrator.set(now, demand);
        asked
    }

    /// A waiting request gives up. False when it was given seats meanwhile.
    pub(crate) fn leave(&self, ticket: Ticket) -> bool {
        let now = self.now();
        let mut state = self.state.lock();
        let left = state.queues.leave(now, ticket);
        let begun = state.queues.begin_waiting(now);
        self.wake(&mut state, now, begun);
        left
    }

    fn finish(&self, running: &Running) {
        let now = self.now();
        let mut state = self.state.lock();
        let begun = state.queues.finish(now, running);
        self.wake(&mut state, now, begun);
    }

    fn release(&self, work: Work) {
        let now = self.now();
        let mut state = self.state.lock();
        let begun = state.queues.release(now, work);
        self.wake(&mut state, now, begun);
    }

    /// Hands seats to those whose turn it is. Who has gone away meanwhile gives them on.
    fn wake(&self, state: &mut State, now: Nanos, begun: Vec<(Waiter, Running)>) {
        let mut begun = begun;
        while let Some((waiter, running)) = begun.pop() {
            if let Err(unused) = waiter.send(running) {
                begun.extend(state.queues.finish(now, &unused));
                if unused.work.final_seats > 0 {
                    begun.extend(state.queues.release(now, unused.work));
                }
            }
        }
        let demand = state.queues.demand();
        state.integrator.set(now, demand);
    }
}

/// The seats of a request that runs, given back when it is dropped.
pub(crate) struct Seat {
    level: Arc<Level>,
    stats: Arc<FlowStats>,
    running: Option<Running>,
    began: Instant,
}

impl Seat {
    pub(crate) fn new(level: Arc<Level>, stats: Arc<FlowStats>, running: Running) -> Self {
        stats.executing.add(1);
        stats.seats.add(i64::from(running.work.seats_max()));
        Self { level, stats, running: Some(running), began: Instant::now() }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        self.stats.executing.add(-1);
        self.stats.seats.add(-i64::from(running.work.seats_max()));
        self.stats.execution.observe_duration(self.began.elapsed());
        self.level.finish(&running);
        let work = running.work;
        if work.final_seats == 0 {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(release_later(self.level.clone(), work, work.extra))),
            // The process is ending.
            Err(_) => self.level.release(work),
        }
    }
}

async fn release_later(level: Arc<Level>, work: Work, after: Duration) {
    tokio::time::sleep(after).await;
    level.release(work);
}
