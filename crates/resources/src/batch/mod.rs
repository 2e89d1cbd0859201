//! `batch`: work that ends.

pub mod cron_job;
pub mod job;
pub(crate) mod job_validation;
mod schedule;
