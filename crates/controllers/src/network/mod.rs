//! What says where a Service's pods are: Endpoints and EndpointSlices.

pub(crate) mod backends;
pub(crate) mod endpoints;
pub(crate) mod endpointslice;
pub(crate) mod mirroring;
pub(crate) mod slices;
