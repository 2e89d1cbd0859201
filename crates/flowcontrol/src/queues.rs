//! The queues of one priority level: fair queuing by virtual time. Pure: time is given.
//!
//! Each queue has a virtual clock that tells when its next request would be done if all queues
//! shared the seats evenly at each moment; the request that would be done first is next. A queue's
//! clock moves by a guess when its request begins, and is put right when it ends. (KEP-1040, "Fair
//! Queuing for Server Requests")

use std::collections::VecDeque;

use crate::demand::Nanos;
use crate::estimate::Work;
use crate::shuffle::deal;

/// The guess of how long a request takes, until it has ended; upstream's.
const SERVICE_TIME: Nanos = 3_000_000;

/// Work in seat-nanoseconds, and moments of virtual time.
type Seats = u128;

/// How a level's requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// They never do, and always run.
    Exempt,
    /// They do not: what finds no seat is refused.
    Reject,
    /// In queues.
    Queue { queues: usize, hand: usize, length: usize },
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no seat, and the level has no queues.
    ConcurrencyLimit,
    /// The shortest queue of its hand is full.
    QueueFull,
}

/// A request that runs.
#[derive(Debug)]
pub(crate) struct Running {
    queue: Option<usize>,
    pub(crate) work: Work,
    since: Nanos,
}

/// Names a waiting request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    queue: usize,
    id: u64,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Arrival {
    Runs(Running),
    Waits(Ticket),
    Refused(Refused),
}

struct Request<W> {
    id: u64,
    work: Work,
    waiter: W,
}

struct Queue<W> {
    waiting: VecDeque<Request<W>>,
    running: usize,
    /// When, in virtual time, its next request may begin.
    next: Seats,
    /// The work of all that wait.
    work: Seats,
}

impl<W> Queue<W> {
    fn is_active(&self) -> bool {
        self.running > 0 || !self.waiting.is_empty()
    }
}

fn guess(work: Work) -> Seats {
    cost(work, SERVICE_TIME)
}

fn cost(work: Work, took: Nanos) -> Seats {
    Seats::from(work.seats) * Seats::from(took)
        + Seats::from(work.final_seats) * work.extra.as_nanos()
}

/// The queues. `W` is how a waiting request is woken.
pub(crate) struct Queues<W> {
    waiting: Waiting,
    limit: u32,
    queues: Vec<Queue<W>>,
    /// Virtual time, and the real moment at which it was that.
    virtual_now: Seats,
    at: Nanos,
    active: usize,
    seats_running: u32,
    seats_waiting: u32,
    running: usize,
    next_id: u64,
    /// Where the search for the next queue begins, so that equals take turns.
    robin: usize,
    arrivals: usize,
    hand: Vec<usize>,
}

impl<W> Queues<W> {
    pub(crate) fn new(waiting: Waiting, limit: u32) -> Self {
        let mut queues = Self {
            waiting,
            limit,
            queues: Vec::new(),
            virtual_now: 0,
            at: 0,
            active: 0,
            seats_running: 0,
            seats_waiting: 0,
            running: 0,
            next_id: 0,
            robin: 0,
            arrivals: 0,
            hand: Vec::new(),
        };
        queues.configure(waiting);
        queues
    }

    /// Changes how requests wait. What waits goes on waiting where it is.
    pub(crate) fn configure(&mut self, waiting: Waiting) {
        self.waiting = waiting;
        if let Waiting::Queue { queues, .. } = waiting {
            let count = self.queues.len().max(queues);
            let new = || Queue { waiting: VecDeque::new(), running: 0, next: 0, work: 0 };
            self.queues.resize_with(count, new);
        }
    }

    /// Changes how many seats there are; answers what may begin now.
    pub(crate) fn set_limit(&mut self, now: Nanos, limit: u32) -> Vec<(W, Running)> {
        self.limit = limit;
        self.begin_waiting(now)
    }

    /// Seats taken and wanted.
    pub(crate) fn demand(&self) -> u32 {
        self.seats_running + self.seats_waiting
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Each active queue's number, waiting and running requests and next virtual start in seconds.
    pub(crate) fn each(&self) -> impl Iterator<Item = (usize, usize, usize, f64)> {
        self.queues.iter().enumerate().filter(|(_, queue)| queue.is_active()).map(
            |(index, queue)| (index, queue.waiting.len(), queue.running, queue.next as f64 / 1e9),
        )
    }

    /// A request of the flow with this hash arrives. `always`: it runs whatever the limit.
    pub(crate) fn arrive(
        &mut self,
        now: Nanos,
        flow: u64,
        work: Work,
        always: bool,
        waiter: impl FnOnce() -> W,
    ) -> Arrival {
        self.pass(now);
        let fits = self.fits(work);
        if always || self.waiting == Waiting::Exempt {
            return Arrival::Runs(self.run(None, work, now));
        }
        let Waiting::Queue { hand, queues, length } = self.waiting else {
            return match fits {
                true => Arrival::Runs(self.run(None, work, now)),
                false => Arrival::Refused(Refused::ConcurrencyLimit),
            };
        };
        let index = self.choose(flow, queues, hand);
        if !self.queues[index].is_active() {
            self.queues[index].next = self.virtual_now;
        }
        if fits && self.seats_waiting == 0 {
            self.active += usize::from(!self.queues[index].is_active());
            return Arrival::Runs(self.run(Some(index), work, now));
        }
        if self.seats_running >= self.limit && self.queues[index].waiting.len() >= length {
            return Arrival::Refused(Refused::QueueFull);
        }
        self.active += usize::from(!self.queues[index].is_active());
        let id = self.next_id;
        self.next_id += 1;
        let queue = &mut self.queues[index];
        queue.work += guess(work);
        queue.waiting.push_back(Request { id, work, waiter: waiter() });
        self.seats_waiting += work.seats_max();
        Arrival::Waits(Ticket { queue: index, id })
    }

    /// Of the flow's hand, the queue with the least work. The hand is looked through from another
    /// card each time, lest flows that share cards always meet at the same one.
    fn choose(&mut self, flow: u64, queues: usize, hand: usize) -> usize {
        deal(flow, queues, hand, &mut self.hand);
        self.arrivals = self.arrivals.wrapping_add(1);
        let (start, len) = (self.arrivals, self.hand.len());
        let cards = (0..len).map(|step| self.hand[(start.wrapping_add(step)) % len]);
        cards.min_by_key(|card| self.queues[*card].work).unwrap_or_default()
    }

    fn fits(&self, work: Work) -> bool {
        // What is wider than the level runs alone.
        let wanted = work.seats_max();
        self.seats_running + wanted <= self.limit || (wanted > self.limit && self.running == 0)
    }

    fn run(&mut self, queue: Option<usize>, work: Work, now: Nanos) -> Running {
        if let Some(index) = queue {
            self.queues[index].running += 1;
            self.queues[index].next += guess(work);
        }
        self.running += 1;
        self.seats_running += work.seats_max();
        Running { queue, work, since: now }
    }

    /// What waits and may begin now, in its order.
    pub(crate) fn begin_waiting(&mut self, now: Nanos) -> Vec<(W, Running)> {
        self.pass(now);
        let mut begun = Vec::new();
        while self.seats_waiting > 0 {
            let Some(index) = self.first() else { break };
            let Some(front) = self.queues[index].waiting.front() else { break };
            if !self.fits(front.work) {
                break;
            }
            let Some(request) = self.queues[index].waiting.pop_front() else { break };
            self.queues[index].work -= guess(request.work);
            self.seats_waiting -= request.work.seats_max();
            self.robin = index + 1;
            let running = self.run(Some(index), request.work, now);
            begun.push((request.waiter, running));
        }
        begun
    }

    /// The queue whose first request would be done first.
    fn first(&self) -> Option<usize> {
        let count = self.queues.len();
        (0..count)
            .map(|step| (self.robin + step) % count)
            .filter_map(|index| {
                let front = self.queues[index].waiting.front()?;
                Some((self.queues[index].next + guess(front.work), index))
            })
            .min_by_key(|(done, _)| *done)
            .map(|(_, index)| index)
    }

    /// A request was answered. When it keeps seats for a while, the caller gives them back with
    /// [`Queues::release`] after [`Work::extra`].
    pub(crate) fn finish(&mut self, now: Nanos, running: &Running) -> Vec<(W, Running)> {
        self.pass(now);
        let took = now.saturating_sub(running.since);
        if let Some(index) = running.queue {
            let queue = &mut self.queues[index];
            // Its guess was added when it began.
            queue.next =
                (queue.next + cost(running.work, took)).saturating_sub(guess(running.work));
            queue.running -= 1;
            self.active -= usize::from(!queue.is_active());
        }
        self.running -= 1;
        self.seats_running -= running.work.seats_max() - running.work.final_seats;
        self.begin_waiting(now)
    }

    /// The seats that an answered request kept are free again.
    pub(crate) fn release(&mut self, now: Nanos, work: Work) -> Vec<(W, Running)> {
        self.seats_running -= work.final_seats;
        self.begin_waiting(now)
    }

    /// A waiting request waits no longer. False when it has begun already.
    pub(crate) fn leave(&mut self, now: Nanos, ticket: Ticket) -> bool {
        self.pass(now);
        let queue = &mut self.queues[ticket.queue];
        let Some(at) = queue.waiting.iter().position(|one| one.id == ticket.id) else {
            return false;
        };
        if let Some(request) = queue.waiting.remove(at) {
            queue.work -= guess(request.work);
            self.seats_waiting -= request.work.seats_max();
            self.active -= usize::from(!queue.is_active());
        }
        true
    }

    /// Lets virtual time pass: as fast as each active queue gets seats.
    fn pass(&mut self, now: Nanos) {
        let elapsed = Seats::from(now.saturating_sub(self.at));
        self.at = self.at.max(now);
        if self.active > 0 {
            let used = Seats::from(self.demand().min(self.limit.max(1)));
            self.virtual_now += elapsed * used / self.active as Seats;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ONE: Work = Work { seats: 1, final_seats: 0, extra: Duration::ZERO };
    const MILLI: Nanos = 1_000_000;

    fn queues(count: usize, hand: usize, length: usize, limit: u32) -> Queues<u32> {
        Queues::new(Waiting::Queue { queues: count, hand, length }, limit)
    }

    #[test]
    fn a_flood_does_not_starve_the_others() {
        // Two flows with a queue each: flow 0 floods, flow 1 sends one request at a time.
        let mut queues = queues(2, 1, 1000, 2);
        let mut running = Vec::new();
        for number in 0..200 {
            if let Arrival::Runs(one) = queues.arrive(0, 0, ONE, false, || number) {
                running.push((0, one));
            }
        }
        assert_eq!(running.len(), 2);
        let (mut now, mut served) = (0, [0_u32; 2]);
        assert!(matches!(queues.arrive(now, 1, ONE, false, || 9999), Arrival::Waits(_)));
        while served[0] < 100 {
            now += 10 * MILLI;
            let (flow, one) = running.remove(0);
            served[flow] += 1;
            let begun = queues.finish(now, &one);
            for (number, one) in begun {
                let flow = usize::from(number == 9999);
                if flow == 1 {
                    assert!(matches!(
                        queues.arrive(now, 1, ONE, false, || 9999),
                        Arrival::Waits(_)
                    ));
                }
                running.push((flow, one));
            }
        }
        // An even share of what was served.
        assert!(served[1].abs_diff(served[0]) <= 3, "{served:?}");
    }

    #[test]
    fn wide_requests_pay_for_their_width() {
        let mut queues = queues(2, 1, 1000, 10);
        let wide = Work { seats: 10, ..ONE };
        let Arrival::Runs(first) = queues.arrive(0, 0, wide, false, || 0) else { panic!() };
        for number in 0..50 {
            queues.arrive(0, 0, wide, false, || number);
            queues.arrive(0, 1, ONE, false, || 100 + number);
        }
        // Each takes a millisecond.
        let mut running: VecDeque<(Nanos, u32, Running)> = VecDeque::from([(MILLI, 0, first)]);
        let mut order = Vec::new();
        while let Some((now, number, one)) = running.pop_front() {
            order.push(number >= 100);
            let begun = queues.finish(now, &one);
            running.extend(begun.into_iter().map(|(number, one)| (now + MILLI, number, one)));
        }
        let narrow_early = order.iter().take(33).filter(|narrow| **narrow).count();
        assert!(narrow_early >= 25, "{order:?}");
        assert_eq!((order.len(), queues.demand(), queues.active), (101, 0, 0));
    }

    #[test]
    fn limits_refusals_and_leaving() {
        let mut reject = Queues::<u32>::new(Waiting::Reject, 1);
        let Arrival::Runs(one) = reject.arrive(0, 0, ONE, false, || 0) else { panic!() };
        let second = reject.arrive(0, 0, ONE, false, || 0);
        assert!(matches!(second, Arrival::Refused(Refused::ConcurrencyLimit)));
        assert!(matches!(reject.arrive(0, 0, ONE, true, || 0), Arrival::Runs(_)));
        reject.finish(1, &one);

        let mut queues = queues(1, 1, 2, 1);
        let Arrival::Runs(one) = queues.arrive(0, 0, ONE, false, || 0) else { panic!() };
        let Arrival::Waits(ticket) = queues.arrive(0, 0, ONE, false, || 1) else { panic!() };
        assert!(matches!(queues.arrive(0, 0, ONE, false, || 2), Arrival::Waits(_)));
        let full = queues.arrive(0, 0, ONE, false, || 3);
        assert!(matches!(full, Arrival::Refused(Refused::QueueFull)));
        assert!(queues.leave(0, ticket) && !queues.leave(0, ticket));
        let begun = queues.finish(MILLI, &one);
        assert_eq!(begun.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2]);
        // More seats let more begin.
        queues.arrive(MILLI, 0, ONE, false, || 4);
        assert_eq!(queues.set_limit(MILLI, 2).len(), 1);
    }

    #[test]
    fn seats_are_kept_after_the_answer() {
        let mut queues = queues(1, 1, 9, 3);
        let work = Work { seats: 1, final_seats: 3, extra: Duration::from_millis(5) };
        let Arrival::Runs(one) = queues.arrive(0, 0, work, false, || 0) else { panic!() };
        assert!(matches!(queues.arrive(0, 0, ONE, false, || 1), Arrival::Waits(_)));
        assert!(queues.finish(MILLI, &one).is_empty());
        assert_eq!(queues.release(6 * MILLI, work).len(), 1);
        // What is wider than the level runs, alone.
        let wide = Work { seats: 9, ..ONE };
        assert!(matches!(queues.arrive(7 * MILLI, 0, wide, false, || 2), Arrival::Waits(_)));
    }

    #[test]
    fn random_traffic_keeps_the_books() {
        let mut number = 42_u64;
        let mut next = |below: u64| {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            number % below
        };
        let mut queues = queues(16, 4, 5, 8);
        let (mut now, mut running, mut tickets) = (0, Vec::new(), Vec::new());
        for _ in 0..20_000 {
            now += next(2 * MILLI);
            let begun = match next(3) {
                0 => {
                    let work = Work { seats: 1 + next(4) as u32, ..ONE };
                    match queues.arrive(now, next(1000), work, false, || 0) {
                        Arrival::Runs(one) => running.push(one),
                        Arrival::Waits(ticket) => tickets.push(ticket),
                        Arrival::Refused(_) => {}
                    }
                    Vec::new()
                }
                1 if !running.is_empty() => {
                    let one = running.swap_remove(next(running.len() as u64) as usize);
                    queues.finish(now, &one)
                }
                _ if !tickets.is_empty() => {
                    queues.leave(now, tickets.swap_remove(next(tickets.len() as u64) as usize));
                    queues.begin_waiting(now)
                }
                _ => Vec::new(),
            };
            running.extend(begun.into_iter().map(|(_, one)| one));
            assert!(queues.seats_running <= 8, "{}", queues.seats_running);
            assert_eq!(queues.running, running.len());
            let active = queues.queues.iter().filter(|queue| queue.is_active()).count();
            assert_eq!(active, queues.active);
        }
        while let Some(one) = running.pop() {
            running.extend(queues.finish(now, &one).into_iter().map(|(_, one)| one));
        }
        assert_eq!((queues.demand(), queues.active), (0, 0));
    }
}
