//! API priority and fairness: whose requests are served at once, whose wait, whose are refused.
//!
//! A request belongs to the first FlowSchema that matches it ([`classify`]) and so to a priority
//! level; the level has seats, and queues for what finds none ([`queues`]), to which flows are
//! dealt ([`shuffle`]). Seats are divided among levels by shares, and lent from idle to busy ones
//! ([`borrow`], by [`demand`]). These are pure; [`fairness`] puts them to work behind
//! [`apiserver::FlowControl`]. The rules are KEP-1040's.
//!
//! Invariant: time is given, waiting goes through channels, and no lock is held while waiting.

pub mod bootstrap;
mod borrow;
mod classify;
mod demand;
mod dump;
mod estimate;
mod fairness;
mod flows;
mod level;
mod metrics;
mod queues;
mod retry;
mod shuffle;

pub use fairness::Fairness;

#[cfg(test)]
mod tests;
