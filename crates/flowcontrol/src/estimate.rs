//! How much room a request takes: its seats. Pure.
//!
//! The numbers are upstream's: a seat for each 100 kB that a list holds in memory at once, at most
//! ten; for a write, a seat for each ten watchers that will be told of it, after it was answered.

use std::time::Duration;

use apiserver::FlowRequest;
use auth::Target;

const SEATS_MAX: u64 = 10;
const BYTES_PER_SEAT: u64 = 100_000;
/// What a list out of the watch cache holds in memory at most, since it is streamed.
const CACHED_LIST_BYTES_MAX: u64 = 1_000_000;
const WATCHERS_PER_SEAT: u64 = 10;
/// The time that telling a seat's watchers takes.
const EVENT_TIME: Duration = Duration::from_millis(5);
/// No request gets more of its level than this.
const PART_OF_LEVEL_MAX: f64 = 0.15;

/// What a request will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// While it is served.
    pub(crate) seats: u32,
    /// After it was answered.
    pub(crate) final_seats: u32,
    /// For so long.
    pub(crate) extra: Duration,
}

impl Work {
    /// The seats that must be free for it to begin.
    pub(crate) fn seats_max(self) -> u32 {
        self.seats.max(self.final_seats)
    }
}

/// The work of a request to a level with `nominal` seats.
pub(crate) fn estimate(request: &FlowRequest<'_>, nominal: u32) -> Work {
    let one = Work { seats: 1, final_seats: 0, extra: Duration::ZERO };
    let Target::Resource(target) = &request.attributes.target else { return one };
    let most = ((f64::from(nominal) * PART_OF_LEVEL_MAX) as u64).clamp(1, SEATS_MAX);
    match target.verb.as_str() {
        "list" => Work { seats: list_seats(request).clamp(1, most) as u32, ..one },
        "create" | "update" | "patch" | "delete" => {
            // Nobody watches tokens being made.
            if target.subresource == "token" || request.size.watchers < WATCHERS_PER_SEAT {
                return one;
            }
            let seats = request.size.watchers.div_ceil(WATCHERS_PER_SEAT);
            let narrow = seats.min(most);
            let nanos = EVENT_TIME.as_nanos() as u64 * seats / narrow;
            Work { final_seats: narrow as u32, extra: Duration::from_nanos(nanos), ..one }
        }
        _ => one,
    }
}

fn list_seats(request: &FlowRequest<'_>) -> u64 {
    let size = &request.size;
    let objects = if size.names_one {
        1
    } else {
        size.limit.filter(|limit| *limit > 0).map_or(size.objects, |limit| limit.min(size.objects))
    };
    (objects * size.object_bytes).min(CACHED_LIST_BYTES_MAX).div_ceil(BYTES_PER_SEAT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiserver::RequestSize;
    use auth::{Attributes, ResourceAttributes, UserInfo};

    fn check(verb: &str, size: RequestSize, nominal: u32, expected: (u32, u32, u64)) {
        let target = ResourceAttributes { verb: verb.to_owned(), ..ResourceAttributes::default() };
        let attributes =
            Attributes { user: UserInfo::anonymous(), target: Target::Resource(target) };
        let request = FlowRequest { size, ..FlowRequest::of(&attributes) };
        let work = estimate(&request, nominal);
        let got = (work.seats, work.final_seats, work.extra.as_millis() as u64);
        assert_eq!(got, expected, "{verb} {size:?} of {nominal}");
    }

    #[test]
    fn seats_by_size() {
        let many = RequestSize { objects: 1000, object_bytes: 3000, ..RequestSize::default() };
        check("list", many, 100, (10, 0, 0));
        check("list", many, 20, (3, 0, 0));
        check("list", RequestSize { limit: Some(100), ..many }, 100, (3, 0, 0));
        check("list", RequestSize { names_one: true, ..many }, 100, (1, 0, 0));
        check("list", RequestSize::default(), 100, (1, 0, 0));
        check("get", many, 100, (1, 0, 0));
        let watched = |watchers| RequestSize { watchers, ..many };
        check("create", watched(9), 100, (1, 0, 0));
        check("create", watched(25), 100, (1, 3, 5));
        check("patch", watched(200), 100, (1, 10, 10));
        check("watch", watched(200), 100, (1, 0, 0));
    }
}
