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
    /// Registers a controller's watches now, inside a tokio runtime, and gives back the future
    /// that runs it under a client's identity until the drain fires; work in hand is finished.
    pub fn start(
        &self,
        reconciler: Arc<dyn Reconciler>,
        client: kube::Client,
        drain: Drain,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.start_telling(reconciler, client, drain, || {})
    }

    /// The same; `synced` is called once the caches that the controller reads are complete and its
    /// work begins.
    pub fn start_telling(
        &self,
        reconciler: Arc<dyn Reconciler>,
        client: kube::Client,
        drain: Drain,
        synced: impl FnOnce() + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
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
        run(reconciler, ctx, watches.caches, drain, synced)
    }
}

async fn run(
    reconciler: Arc<dyn Reconciler>,
    ctx: Ctx,
    caches: Vec<Arc<SharedCache>>,
    drain: Drain,
    synced: impl FnOnce() + Send,
) {
    for cache in &caches {
        tokio::select! {
            () = cache.synced() => {}
            () = drain.cancelled() => return,
        }
    }
    synced();
    let workers = (0..reconciler.workers()).map(|_| {
        let (reconciler, ctx, drain) = (reconciler.clone(), ctx.clone(), drain.clone());
        tokio::spawn(async move { work(&*reconciler, &ctx, &drain).await })
    });
    // A worker contains panics and returns only when drained.
    futures::future::join_all(workers).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Flaky(AtomicU32);

    #[async_trait]
    impl Reconciler for Flaky {
        fn name(&self) -> &'static str {
            "flaky"
        }

        fn watches(&self, watches: &mut Watches) {
            watches.once(Key::new("n", "x"));
        }

        async fn reconcile(&self, _: &Ctx, _: &Key) -> Result<Action, Error> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Error::Stuck("not yet".to_owned())),
                1 => panic!("a bug"),
                2 => Ok(Action::After(Duration::from_secs(60))),
                _ => Ok(Action::Await),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_and_panics_are_retried_and_moments_are_kept() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<
                Result<http::Response<kube::client::Body>, std::convert::Infallible>,
            >()
        });
        let client = kube::Client::new(service, "default");
        let drain = Drain::new();
        let engine = Engine {
            caches: Caches::new(client.clone(), SharedRng::seeded(1), drain.clone()),
            clock: base::clock::system(),
            rng: SharedRng::seeded(1),
        };
        let flaky = Arc::new(Flaky(AtomicU32::new(0)));
        let started = tokio::time::Instant::now();
        let run = tokio::spawn(engine.start(flaky.clone(), client, drain.clone()));
        while flaky.0.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(started.elapsed() >= Duration::from_secs(60));
        let metrics = crate::metrics::queue("flaky");
        assert_eq!((metrics.errors(), metrics.panics()), (2, 1));
        drain.cancel();
        run.await.unwrap();
    }
}
