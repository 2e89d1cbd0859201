//! `flowcontrol.apiserver.k8s.io`: whose requests wait for whose.

pub mod flow_schema;
pub mod priority_level_configuration;
