//! Flow control at work: the snapshot of schemas and levels that requests read, their way through
//! it, and the division of seats that follows demand.
//!
//! Invariant: a request that need not wait takes one short lock, of its level, and waits for
//! nothing; the snapshot is replaced as a whole when objects change.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use api::typed::Kind as _;
use apiserver::{FlowControl, FlowPermit, FlowRefusal, FlowRequest};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use base::drain::Drain;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::borrow::{self, Claim};
use crate::classify::Matcher;
use crate::estimate;
use crate::flows::FlowStats;
use crate::level::{Asked, Level, LevelConfig, Seat};
use crate::queues::{Refused, Running, Ticket, Waiting};
use crate::{bootstrap, dump, metrics};

/// How often seats are divided anew; upstream's.
const PERIOD: Duration = Duration::from_secs(10);
const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
/// Below this a level's smoothed demand counts as none.
const DEMAND_MIN: f64 = 0.01;

/// A flow schema in force.
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) precedence: i32,
    matcher: Matcher,
    pub(crate) level: Arc<Level>,
    pub(crate) stats: Arc<FlowStats>,
    headers: [(HeaderName, HeaderValue); 2],
}

/// What requests read.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// In the order in which they are tried.
    pub(crate) schemas: Vec<Schema>,
    pub(crate) levels: BTreeMap<String, Arc<Level>>,
}

/// Priority and fairness.
pub struct Fairness {
    seats: u32,
    started: Instant,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    configuring: Mutex<HashMap<(String, String), Arc<FlowStats>>>,
    /// Nothing has happened since the last division of seats that could change it.
    is_settled: AtomicBool,
    woken: Notify,
    pub(crate) fair_fraction: Mutex<f64>,
}

impl Fairness {
    /// Flow control of a server with so many seats, with the schemas and levels that every
    /// cluster has, until [`Fairness::configure`] is told of the cluster's own.
    #[must_use]
    pub fn new(seats: u32) -> Self {
        let fairness = Self {
            seats,
            started: Instant::now(),
            snapshot: ArcSwap::default(),
            configuring: Mutex::default(),
            is_settled: AtomicBool::new(false),
            woken: Notify::new(),
            fair_fraction: Mutex::new(0.0),
        };
        fairness.configure(&[], &[]);
        fairness
    }

    /// Takes on the cluster's schemas and levels. The mandatory ones are there even when their
    /// objects are not.
    pub fn configure(
        &self,
        schemas: &[Arc<FlowSchema>],
        levels: &[Arc<PriorityLevelConfiguration>],
    ) {
        let mut known = self.configuring.lock();
        let (own_schemas, own_levels) = built_in(schemas.is_empty());
        let levels = with_missing(levels, own_levels, |one| one.metadata.name.as_deref());
        let schemas = with_missing(schemas, own_schemas, |one| one.metadata.name.as_deref());
        let before = self.snapshot.load();
        let running = self.levels(&levels, &before);
        let uids: HashMap<&str, &str> = levels
            .iter()
            .filter_map(|level| {
                let meta = &level.metadata;
                Some((meta.name.as_deref()?, meta.uid.as_deref().unwrap_or_default()))
            })
            .collect();
        let mut compiled: Vec<Schema> = schemas
            .iter()
            .filter_map(|schema| {
                let name = schema.metadata.name.as_deref()?;
                let spec = schema.spec.as_ref()?;
                let level_name = spec.priority_level_configuration.name.as_str();
                // Without its level a schema is as if it were not there.
                let level = running.get(level_name)?.clone();
                let stats = known
                    .entry((name.to_owned(), level_name.to_owned()))
                    .or_insert_with(|| Arc::new(FlowStats::new(name, level_name)));
                let uid = schema.metadata.uid.as_deref().unwrap_or_default();
                Some(Schema {
                    name: name.to_owned(),
                    precedence: spec.matching_precedence.unwrap_or(1000),
                    matcher: Matcher::new(schema),
                    level,
                    stats: stats.clone(),
                    headers: [
                        (SCHEMA_UID, header(uid)),
                        (LEVEL_UID, header(uids.get(level_name).copied().unwrap_or_default())),
                    ],
                })
            })
            .collect();
        compiled.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        known.retain(|_, stats| {
            Arc::strong_count(stats) > 1
                || compiled.iter().any(|schema| Arc::ptr_eq(&schema.stats, stats))
        });
        self.snapshot.store(Arc::new(Snapshot { schemas: compiled, levels: running }));
        self.stir();
    }

    /// The levels at work: those that were there keep their queues.
    fn levels(
        &self,
        objects: &[Arc<PriorityLevelConfiguration>],
        before: &Snapshot,
    ) -> BTreeMap<String, Arc<Level>> {
        let configs: Vec<(&str, LevelConfig)> = objects
            .iter()
            .filter_map(|level| Some((level.metadata.name.as_deref()?, LevelConfig::of(level))))
            .collect();
        let sum = configs.iter().map(|(_, config)| config.shares.shares).sum();
        let mut running = BTreeMap::new();
        for (name, config) in configs {
            let limits = borrow::limits(self.seats, sum, config.shares);
            let level = match before.levels.get(name) {
                Some(level) => {
                    level.configure(config, limits);
                    level.clone()
                }
                None => Arc::new(Level::new(config, limits, self.started)),
            };
            running.insert(name.to_owned(), level);
        }
        running
    }

    /// Divides the seats by what levels wanted since the last time.
    pub fn adjust(&self) {
        let snapshot = self.snapshot.load();
        let mut claims = Vec::new();
        let mut is_quiet = true;
        for level in snapshot.levels.values() {
            let now = level.now();
            let mut state = level.state.lock();
            let observation = state.integrator.reset(now);
            state.demand.update(observation);
            if state.demand.smoothed < DEMAND_MIN {
                state.demand.smoothed = 0.0;
            }
            is_quiet &= observation.peak == 0 && state.demand.smoothed == 0.0;
            claims.push(Claim {
                limits: state.limits,
                is_exempt: state.config.waiting == Waiting::Exempt,
                peak: observation.peak,
                smoothed: state.demand.smoothed,
            });
        }
        let (seats, fraction) = borrow::allocate(&claims);
        *self.fair_fraction.lock() = fraction;
        for ((level, seats), claim) in snapshot.levels.values().zip(seats).zip(claims) {
            level.set_limit(seats);
            level.state.lock().target = claim.smoothed;
        }
        self.is_settled.store(is_quiet, Ordering::Release);
    }

    /// Divides seats anew each period, while there is anything to divide for: a server that nobody
    /// asks for anything does nothing here.
    pub async fn keep_adjusting(&self, drain: Drain) {
        loop {
            tokio::select! {
                () = drain.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => self.adjust(),
            }
            while self.is_settled.load(Ordering::Acquire) {
                tokio::select! {
                    () = drain.cancelled() => return,
                    () = self.woken.notified() => {}
                }
            }
        }
    }

    /// Something happened that the next division of seats must see.
    fn stir(&self) {
        if self.is_settled.load(Ordering::Relaxed) {
            self.is_settled.store(false, Ordering::Release);
            self.woken.notify_one();
        }
    }

    /// Waits for a request's seats; `None` when it waited too long.
    async fn wait(
        schema: (&Arc<Level>, &Arc<FlowStats>),
        ticket: Ticket,
        receiver: oneshot::Receiver<Running>,
        longest: Duration,
    ) -> Option<Running> {
        let (level, stats) = schema;
        stats.in_queue.add(1);
        let began = Instant::now();
        let mut place = Place { level, stats, ticket, receiver: Some(receiver) };
        let receiver = place.receiver.as_mut()?;
        let got = tokio::time::timeout(longest, receiver).await;
        let running = match got {
            Ok(running) => running.ok(),
            // Its turn may have come at the last moment.
            Err(_) if level.leave(ticket) => None,
            Err(_) => place.receiver.as_mut().and_then(|receiver| receiver.try_recv().ok()),
        };
        place.receiver = None;
        stats.waited[usize::from(running.is_none())].observe_duration(began.elapsed());
        running
    }
}

/// A place in a queue, left when the request is given up.
struct Place<'a> {
    level: &'a Arc<Level>,
    stats: &'a Arc<FlowStats>,
    ticket: Ticket,
    receiver: Option<oneshot::Receiver<Running>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.stats.in_queue.add(-1);
        let Some(mut receiver) = self.receiver.take() else { return };
        self.stats.refused[3].inc();
        if !self.level.leave(self.ticket)
            && let Ok(running) = receiver.try_recv()
        {
            drop(Seat::new(self.level.clone(), self.stats.clone(), running));
        }
    }
}

#[async_trait]
impl FlowControl for Fairness {
    async fn admit(&self, request: &FlowRequest<'_>) -> Result<FlowPermit, FlowRefusal> {
        let is_watch = request.verb() == "watch";
        if request.is_long_running && !is_watch {
            return Ok(FlowPermit::default());
        }
        self.stir();
        let snapshot = self.snapshot.load_full();
        let found = snapshot.schemas.iter().find(|one| one.matcher.matches(request.attributes));
        // The mandatory schemas match everything, so this is only for a request without groups.
        let Some(schema) = found.or_else(|| snapshot.schemas.last()) else {
            return Ok(FlowPermit::default());
        };
        let (level, stats) = (&schema.level, &schema.stats);
        let work = estimate::estimate(request, level.nominal());
        stats.work_seats.observe(f64::from(work.seats_max()));
        let flow = flow_hash(schema, request);
        let asked = level.ask(flow, work, request.is_in_process);
        let running = match asked {
            Asked::Runs(running) => {
                stats.waited[0].observe(0.0);
                Ok(running)
            }
            Asked::Refused(why) => Err(usize::from(why == Refused::QueueFull)),
            Asked::Waits(ticket, receiver) => {
                Self::wait((level, stats), ticket, receiver, request.wait_max).await.ok_or(2)
            }
        };
        let headers = schema.headers.to_vec();
        match running {
            Ok(running) => {
                stats.dispatched.inc();
                let seat = Seat::new(level.clone(), stats.clone(), running);
                Ok(FlowPermit { guard: Some(Box::new(seat)), headers })
            }
            Err(reason) => {
                stats.refused[reason].inc();
                level.refused.inc();
                let second = self.started.elapsed().as_secs();
                let retry_after_seconds = level.retry_after.refused(second);
                Err(FlowRefusal { retry_after_seconds, headers })
            }
        }
    }

    fn headers(&self, request: &FlowRequest<'_>) -> Vec<(HeaderName, HeaderValue)> {
        if request.is_long_running && request.verb() != "watch" {
            return Vec::new();
        }
        let snapshot = self.snapshot.load_full();
        let found = snapshot.schemas.iter().find(|one| one.matcher.matches(request.attributes));
        found.map(|schema| schema.headers.to_vec()).unwrap_or_default()
    }

    fn metrics(&self) -> String {
        metrics::render(self)
    }

    fn dump(&self, what: &str) -> Option<String> {
        dump::dump(self, what)
    }
}

fn flow_hash(schema: &Schema, request: &FlowRequest<'_>) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    schema.name.hash(&mut hasher);
    schema.matcher.distinguisher(request.attributes).hash(&mut hasher);
    hasher.finish()
}

fn header(uid: &str) -> HeaderValue {
    HeaderValue::from_str(uid).unwrap_or(HeaderValue::from_static(""))
}

type Objects = (Vec<FlowSchema>, Vec<PriorityLevelConfiguration>);

/// This crate's own objects: the mandatory ones, or all.
fn built_in(all: bool) -> Objects {
    let count = if all { usize::MAX } else { 2 };
    let bytes = |object: &api::Value| object.to_string().into_bytes();
    let decoded = "the built-in objects are well-formed, which a test checks";
    let schemas = bootstrap::flow_schemas();
    let levels = bootstrap::priority_levels();
    (
        schemas
            .iter()
            .take(count)
            .map(|one| FlowSchema::decode(&bytes(one)).expect(decoded))
            .collect(),
        levels
            .iter()
            .take(count)
            .map(|one| PriorityLevelConfiguration::decode(&bytes(one)).expect(decoded))
            .collect(),
    )
}

/// The objects and those of `own` whose names are not among them.
fn with_missing<K>(
    objects: &[Arc<K>],
    own: Vec<K>,
    name: impl Fn(&K) -> Option<&str>,
) -> Vec<Arc<K>> {
    let missing = own
        .into_iter()
        .filter(|own| !objects.iter().any(|one| name(one) == name(own)))
        .map(Arc::new)
        .collect::<Vec<_>>();
    objects.iter().cloned().chain(missing).collect()
}
