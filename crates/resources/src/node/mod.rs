//! `node.k8s.io`: how pods are run.

pub mod runtime_class;
