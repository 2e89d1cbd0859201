//! The server's side of the composition: who may come in, the way out to the nodes, what every
//! cluster has from the start.

pub(crate) mod at_rest;
pub(crate) mod bootstrap;
pub(crate) mod flow;
pub(crate) mod front_proxy;
pub(crate) mod kubeconfig;
pub(crate) mod kubernetes_service;
pub(crate) mod process;
pub(crate) mod reviews;
pub(crate) mod transport;
