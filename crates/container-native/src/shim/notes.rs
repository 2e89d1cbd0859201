//! What the container library says about a failure, sent along with the failure.
//!
//! Its errors name the step that failed; the cause is only in its log. A helper has no log, so
//! each line of level ERROR becomes a [`Report::Note`].

use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::helper::{Report, report};

struct Notes;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String does not fail.
        _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        line.0.truncate(line.0.floor_char_boundary(1024));
        report(&Report::Note(line.0.trim_end().to_owned()), None);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// From here on the library's errors are reported.
pub(super) fn listen() {
    // There is no other subscriber in a helper.
    drop(tracing::subscriber::set_global_default(Notes));
}
