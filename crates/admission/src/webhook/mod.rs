//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: others are asked about writes.
//!
//! A configuration is read once (`configuration.rs`), a request becomes an `AdmissionReview`
//! (`review.rs`), one webhook is asked (`ask.rs`), and the two plugins differ in the order in which
//! they ask and in what they make of the answers.

mod ask;
mod configuration;
mod mutating;
pub(crate) mod review;
mod validating;

pub(crate) use mutating::MutatingAdmissionWebhook;
pub(crate) use validating::ValidatingAdmissionWebhook;
