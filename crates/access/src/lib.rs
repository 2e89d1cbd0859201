//! Who a caller is and what it may do, by the objects of a running server.
//!
//! `auth` decides purely; here are the authenticators and authorizers that bring it the objects:
//! by reading them ([`authn`]) or by following them ([`authz`]). To add a way to authenticate or to
//! authorize: a file, and its place in the chain that the composition makes.

pub mod authn;
pub mod authz;
pub mod bootstrap;
