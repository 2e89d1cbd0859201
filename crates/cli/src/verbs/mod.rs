//! The verbs, one file each, and their list.

mod api_resources;
mod apply;
mod create;
mod delete;
mod describe;
mod get;
mod logs;
mod rollout;
mod scale;
mod version;

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
        Box::new(logs::Logs),
        Box::new(scale::Scale),
        Box::new(rollout::Rollout),
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
