//! The verbs, one file each, and their list.

mod api_resources;
mod apply;
mod auth;
mod change;
mod create;
mod delete;
mod describe;
mod events;
mod expose;
mod get;
mod info;
mod label;
mod logs;
mod patch;
mod rollout;
mod run;
mod scale;
mod set;
mod version;
mod wait;

use crate::verb::Verb;

/// kubectl's verbs, in the order in which help shows them.
#[must_use]
pub fn all() -> Vec<Box<dyn Verb>> {
    vec![
        Box::new(get::Get),
        Box::new(describe::Describe),
        Box::new(apply::Apply),
        Box::new(create::Create),
        Box::new(delete::Delete),
        Box::new(run::Run),
        Box::new(expose::Expose),
        Box::new(set::Set),
        Box::new(label::Mark::label()),
        Box::new(label::Mark::annotate()),
        Box::new(logs::Logs),
        Box::new(scale::Scale),
        Box::new(rollout::Rollout),
        Box::new(wait::Wait),
        Box::new(patch::Patch),
        Box::new(patch::Replace),
        Box::new(events::Events),
        Box::new(auth::Auth),
        Box::new(info::ClusterInfo),
        Box::new(info::ApiVersions),
        Box::new(api_resources::ApiResources),
        Box::new(version::Version),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_verb_has_a_name_of_its_own_and_says_what_it_does() {
        let verbs = super::all();
        let names: BTreeSet<_> =
            verbs.iter().map(|verb| verb.command().get_name().to_owned()).collect();
        assert_eq!(names.len(), verbs.len());
        for verb in &verbs {
            let command = verb.command();
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            command.debug_assert();
        }
    }
}
