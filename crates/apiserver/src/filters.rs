//! What every request passes before it reaches its handler: who, may it, is there room.

pub(crate) mod authn;
pub(crate) mod authz;
pub(crate) mod flow;
pub(crate) mod impersonate;
