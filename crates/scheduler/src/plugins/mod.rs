//! The plugins, one file each, and their list.

mod default_preemption;
mod image_locality;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_balanced_allocation;
mod node_resources_fit;
mod node_unschedulable;
mod pod_topology_spread;
mod taint_toleration;

use crate::framework::Plugin;

/// All plugins, in the order in which they are asked: the cheap ones that refuse most come first.
#[must_use]
pub fn all() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(node_unschedulable::NodeUnschedulable),
        Box::new(node_name::NodeName),
        Box::new(taint_toleration::TaintToleration),
        Box::new(node_affinity::NodeAffinity),
        Box::new(node_ports::NodePorts),
        Box::new(node_resources_fit::NodeResourcesFit),
        Box::new(pod_topology_spread::PodTopologySpread),
        Box::new(node_resources_balanced_allocation::NodeResourcesBalancedAllocation),
        Box::new(image_locality::ImageLocality),
        Box::new(default_preemption::DefaultPreemption),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_plugin_does_something_under_a_name_of_its_own() {
        let plugins = super::all();
        let names: BTreeSet<_> = plugins.iter().map(|plugin| plugin.name()).collect();
        assert_eq!(names.len(), plugins.len());
        for plugin in &plugins {
            let points = [
                plugin.as_pre_filter().is_some(),
                plugin.as_filter().is_some(),
                plugin.as_post_filter().is_some(),
                plugin.as_score().is_some(),
            ];
            assert!(points.contains(&true), "{} has no extension point", plugin.name());
            let refuses = plugin.as_filter().is_some() || plugin.as_pre_filter().is_some();
            assert!(
                !refuses || !plugin.events().is_empty(),
                "{} refuses pods, and nothing would ever bring them back",
                plugin.name()
            );
        }
    }
}
