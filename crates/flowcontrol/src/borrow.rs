//! How the server's seats are divided among priority levels, and lent from one to another. Pure.
//!
//! By shares first (the nominal limit); then, each period, by what levels want, between a lower
//! bound (what a level does not lend) and an upper one (what it may borrow). (KEP-1040, "dispatching")

/// What a level's configuration makes of the server's seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) nominal: u32,
    pub(crate) lower: u32,
    pub(crate) upper: u32,
}

/// A level's part of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) shares: u32,
    pub(crate) lendable_percent: u32,
    pub(crate) borrowing_percent: Option<u32>,
}

/// The limits of a level among levels with `shares_sum` shares together.
pub(crate) fn limits(server: u32, shares_sum: u32, own: Shares) -> Limits {
    let (server_, sum) = (u64::from(server), u64::from(shares_sum.max(1)));
    let nominal = (server_ * u64::from(own.shares)).div_ceil(sum);
    let nominal = u32::try_from(nominal).unwrap_or(u32::MAX);
    let part = |percent: u32| (f64::from(nominal) * f64::from(percent) / 100.0).round() as u32;
    let lendable = part(own.lendable_percent);
    let borrowing = own.borrowing_percent.map_or(server, part);
    Limits {
        nominal,
        lower: nominal.saturating_sub(lendable),
        upper: nominal.saturating_add(borrowing),
    }
}

/// A level's claim in a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Claim {
    pub(crate) limits: Limits,
    pub(crate) is_exempt: bool,
    /// The most seats that it wanted at one moment.
    pub(crate) peak: u32,
    pub(crate) smoothed: f64,
}

impl Claim {
    /// What the level gets in any case.
    fn floor(&self) -> u32 {
        if self.is_exempt {
            self.limits.lower.max(self.peak)
        } else {
            self.limits.lower.max(self.limits.nominal.min(self.peak))
        }
    }

    fn target(&self) -> f64 {
        self.smoothed.max(f64::from(self.floor()))
    }

    fn at(&self, fraction: f64) -> f64 {
        let upper = f64::from(self.limits.upper);
        (self.target() * fraction).max(f64::from(self.floor())).min(upper)
    }
}

/// The seats of each level for the next period, and the fraction of their targets that levels
/// between their bounds get.
pub(crate) fn allocate(claims: &[Claim]) -> (Vec<u32>, f64) {
    let nominal: u32 = claims.iter().map(|claim| claim.limits.nominal).sum();
    let limited = || claims.iter().filter(|claim| !claim.is_exempt);
    let exempt: u32 = claims.iter().filter(|claim| claim.is_exempt).map(Claim::floor).sum();
    let remaining = nominal.saturating_sub(exempt);
    let lower: u32 = limited().map(|claim| claim.limits.lower).sum();
    let floor: u32 = limited().map(Claim::floor).sum();
    let (mut part_of_floor, mut fraction) = (None, 0.0);
    if remaining <= lower {
        part_of_floor = Some(0.0);
    } else if remaining <= floor {
        part_of_floor = Some(f64::from(remaining - lower) / f64::from(floor - lower));
    } else {
        fraction = fair_fraction(f64::from(remaining), claims);
    }
    let seats = |claim: &Claim| match part_of_floor {
        _ if claim.is_exempt => claim.floor(),
        Some(part) => {
            let above = f64::from(claim.floor() - claim.limits.lower);
            claim.limits.lower + (above * part).round() as u32
        }
        None => claim.at(fraction).round() as u32,
    };
    (claims.iter().map(seats).collect(), fraction)
}

/// The fraction of their targets at which the levels together get `wanted` seats. The sum grows
/// with it, in straight lines between the points where a level meets one of its bounds.
fn fair_fraction(wanted: f64, claims: &[Claim]) -> f64 {
    let claims: Vec<&Claim> =
        claims.iter().filter(|claim| !claim.is_exempt && claim.target() > 0.0).collect();
    let sum = |fraction: f64| claims.iter().map(|claim| claim.at(fraction)).sum::<f64>();
    let mut corners: Vec<f64> = claims
        .iter()
        .flat_map(|claim| {
            let target = claim.target();
            [f64::from(claim.floor()) / target, f64::from(claim.limits.upper) / target]
        })
        .collect();
    corners.sort_by(f64::total_cmp);
    let mut before = 0.0;
    for corner in corners {
        let (low, high) = (sum(before), sum(corner));
        if high >= wanted {
            let slope = high - low;
            return if slope > 0.0 {
                before + (corner - before) * (wanted - low) / slope
            } else {
                corner
            };
        }
        before = corner;
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(nominal: u32, lower: u32, upper: u32, peak: u32, smoothed: f64) -> Claim {
        Claim { limits: Limits { nominal, lower, upper }, is_exempt: false, peak, smoothed }
    }

    #[test]
    fn shares_become_seats() {
        let own = Shares { shares: 30, lendable_percent: 33, borrowing_percent: None };
        assert_eq!(limits(600, 245, own), Limits { nominal: 74, lower: 50, upper: 674 });
        let none = Shares { borrowing_percent: Some(0), ..own };
        assert_eq!(limits(600, 245, none).upper, 74);
        assert_eq!(limits(600, 0, Shares { shares: 0, ..none }).nominal, 0);
    }

    #[test]
    fn idle_levels_lend_to_busy_ones() {
        // One wants all, the other nothing: it keeps what it does not lend.
        let (seats, _) = allocate(&[claim(50, 50, 650, 400, 400.0), claim(50, 10, 650, 0, 0.0)]);
        assert_eq!(seats, [90, 10]);
        // Both want more than there is: nobody goes below its nominal limit.
        let (seats, _) = allocate(&[claim(50, 10, 650, 400, 400.0), claim(50, 10, 650, 90, 90.0)]);
        assert_eq!(seats, [50, 50]);
        // One that may not borrow.
        let (seats, _) = allocate(&[claim(50, 50, 50, 400, 400.0), claim(50, 10, 650, 0, 0.0)]);
        assert_eq!(seats, [50, 50]);
    }

    #[test]
    fn what_exempt_requests_use_is_taken_from_the_others() {
        let exempt = Claim { is_exempt: true, ..claim(0, 0, 0, 60, 60.0) };
        let (seats, _) =
            allocate(&[exempt, claim(50, 10, 650, 50, 50.0), claim(50, 10, 650, 50, 50.0)]);
        assert_eq!(seats, [60, 20, 20]);
        let flood = Claim { is_exempt: true, ..claim(0, 0, 0, 95, 60.0) };
        let (seats, _) =
            allocate(&[flood, claim(50, 10, 650, 50, 50.0), claim(50, 10, 650, 50, 50.0)]);
        assert_eq!(seats, [95, 10, 10]);
    }

    #[test]
    fn the_seats_add_up_to_the_servers() {
        let mut number = 7_u32;
        let mut next = |below: u32| {
            number = number.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            (number >> 8) % below
        };
        for _ in 0..500 {
            let claims: Vec<Claim> = (0..6)
                .map(|_| {
                    let nominal = next(100);
                    let peak = next(300);
                    claim(nominal, nominal / 2, nominal + 600, peak, f64::from(peak))
                })
                .collect();
            let nominal: u32 = claims.iter().map(|claim| claim.limits.nominal).sum();
            let (seats, _) = allocate(&claims);
            let sum: u32 = seats.iter().sum();
            assert!(sum.abs_diff(nominal) <= 6, "{claims:?}: {seats:?}");
            for (seats, claim) in seats.iter().zip(&claims) {
                assert!(*seats >= claim.limits.lower && *seats <= claim.limits.upper);
            }
        }
    }
}
