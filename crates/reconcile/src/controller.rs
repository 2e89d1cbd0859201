//! What a controller is, and how it is run: a key in, an action out.
//!
//! Reconciling is level-triggered: it gets a key, never the event, and decides by what the caches
//! and the server say now. A failure is retried with the key's back-off; a panic is contained,
//! counted and retried likewise.

use std::sync::Arc;
use std::time::Duration;

use api::typed::Kind;
use async_trait::async_trait;
use base::clock::SharedClock;
use base::drain::Drain;
use base::rng::SharedRng;
use tracing::Instrument;

use crate::cache::SharedCache;
use crate::failure::{Class, Failure};
use crate::hub::Caches;
use crate::key::Key;
use crate::queue::Queue;
use crate::recorder::Recorder;
use crate::typed::{Cache, Event};
use crate::writer::Writer;

/// What a reconcile asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something changes.
    Await,
    /// To be called again after this time, or when something changes before.
    After(Duration),
}

/// Why a reconcile could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error(transparent)]
    Request(#[from] Failure),
    /// The object cannot be worked on until someone mends it; said in words.
    #[error("{0}")]
    Stuck(String),
}

/// What every reconciler gets.
#[derive(Clone)]
pub struct Ctx {
    /// Writes under the controller's identity.
    pub writer: Writer,
    /// Wall time.
    pub clock: SharedClock,
    /// Randomness.
    pub rng: SharedRng,
    /// Events under the controller's name.
    pub recorder: Recorder,
    /// The controller's own queue, for keys other than the one at hand.
    pub queue: Queue,
}

/// One controller.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// Its name, as metrics, logs and switches write it.
    fn name(&self) -> &'static str;

    /// The name under which it tells Events; upstream's differ from the controllers' names here
    /// and there.
    fn component(&self) -> &'static str {
        self.name()
    }

    /// How many keys are worked on at a time.
    fn workers(&self) -> usize {
        5
    }

    /// Says which caches it reads and which keys their changes concern.
    fn watches(&self, watches: &mut Watches);

    /// Brings the world of one key closer to what is wanted.
    ///
    /// # Errors
    /// Whatever kept it from doing so; it will be called again.
    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error>;
}

/// The caches that a controller reads, and the way from their changes to its keys.
pub struct Watches {
    queue: Queue,
    caches: Vec<Arc<SharedCache>>,
}

impl Watches {
    /// Watches for a queue.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Self { queue, caches: Vec::new() }
    }

    /// The controller's queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Every change of an object is work on its own key.
    pub fn own<K: Kind>(&mut self, cache: &Cache<K>) {
        self.on(cache, |event, queue| queue.add(Key::of(event.object().meta())));
    }

    /// Every change is handed to a function that adds the keys it concerns.
    pub fn on<K: Kind>(
        &mut self,
        cache: &Cache<K>,
        handler: impl Fn(&Event<K>, &Queue) + Send + Sync + 'static,
    ) {
        let queue = self.queue.clone();
        cache.subscribe(move |event| handler(&event, &queue));
        self.reads(cache);
    }

    /// The cache is read, and must be synced before work begins; its changes concern no key.
    pub fn reads<K: Kind>(&mut self, cache: &Cache<K>) {
        self.caches.push(cache.shared().clone());
    }

    /// A cache of a resource known at run time is read.
    pub fn reads_shared(&mut self, cache: Arc<SharedCache>) {
        self.caches.push(cache);
    }

    /// Adds a key once at the start, for controllers that keep one thing in order.
    pub fn once(&mut self, key: Key) {
        self.queue.add(key);
    }
}

/// What the engine needs to run a controller.
#[derive(Clone)]
pub struct Engine {
    /// The caches of the process.
    pub caches: Caches,
    /// Wall time.
    pub clock: SharedClock,
    /// Randomness.
    pub rng: SharedRng,
}

impl Engine {
    /// Runs a controller under a client's identity until the drain fires; work in hand is
    /// finished.
    pub async fn run(&self, reconciler: Arc<dyn Reconciler>, client: kube::Client, drain: Drain) {
        let name = reconciler.name();
        let queue = Queue::new(name);
        let writer = Writer::new(client, "kube-controller-manager");
        let recorder = Recorder::start(
            writer.clone(),
            reconciler.component(),
            "",
            self.clock.clone(),
            drain.clone(),
        );
        let ctx = Ctx {
            writer,
            clock: self.clock.clone(),
            rng: self.rng.clone(),
            recorder,
            queue: queue.clone(),
        };
        let mut watches = Watches::new(queue);
        reconciler.watches(&mut watches);
        for cache in &watches.caches {
            tokio::select! {
                () = cache.synced() => {}
                () = drain.cancelled() => return,
            }
        }
        let workers = (0..reconciler.workers()).map(|_| {
            let (reconciler, ctx, drain) = (reconciler.clone(), ctx.clone(), drain.clone());
            tokio::spawn(async move { work(&*reconciler, &ctx, &drain).await })
        });
        // A worker contains panics and returns only when drained.
        futures::future::join_all(workers).await;
    }
}

async fn work(reconciler: &dyn Reconciler, ctx: &Ctx, drain: &Drain) {
    loop {
        let key = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            key = ctx.queue.next() => key,
        };
        once(reconciler, ctx, &key).await;
        ctx.queue.done(&key);
    }
}

/// One reconcile of a key, with what follows from its outcome.
async fn once(reconciler: &dyn Reconciler, ctx: &Ctx, key: &Key) {
    let name = reconciler.name();
    let metrics = crate::metrics::queue(name);
    let started = tokio::time::Instant::now();
    let span = tracing::debug_span!("reconcile", controller = name, %key);
    let outcome = base::task::contain(name, reconciler.reconcile(ctx, key).instrument(span)).await;
    metrics.reconciled(started.elapsed(), !matches!(outcome, Ok(Ok(_))));
    match outcome {
        Ok(Ok(action)) => {
            ctx.queue.forget(key);
            if let Action::After(delay) = action {
                ctx.queue.add_after(key.clone(), delay);
            }
        }
        Ok(Err(error)) => failed(ctx, name, key, &error),
        Err(_panicked) => {
            metrics.panicked();
            ctx.queue.add_failed(key.clone());
        }
    }
}

fn failed(ctx: &Ctx, name: &str, key: &Key, error: &Error) {
    let delay = ctx.queue.add_failed(key.clone());
    let ordinary = matches!(error, Error::Request(failure) if matches!(
        failure.class,
        Class::Conflict | Class::NotFound | Class::AlreadyExists | Class::NamespaceTerminating
    ));
    // Writers overtake each other all the time; only what stays wrong is worth a person's time.
    if ordinary || ctx.queue.failures(key) < 3 {
        tracing::debug!(controller = name, %key, %error, ?delay, "reconcile failed, will retry");
    } else {
        tracing::warn!(controller = name, %key, %error, ?delay, "reconcile keeps failing");
    }
}
