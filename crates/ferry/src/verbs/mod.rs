//! Ferry's own verbs, one file each, and their list.

mod bench;
mod certs;
mod check;
mod demo;
mod dns;
mod image;
mod server;
mod status;

use cli::Verb;

/// Ferry's own verbs, in the order in which help shows them.
pub(crate) fn all() -> Vec<Box<dyn Verb>> {
    vec![
        Box::new(server::Server),
        Box::new(status::Status),
        Box::new(check::Check),
        Box::new(image::Image),
        Box::new(certs::Certs),
        Box::new(bench::Bench),
        Box::new(dns::Dns),
        Box::new(demo::Demo),
    ]
}
