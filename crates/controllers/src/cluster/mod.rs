//! What keeps the cluster itself in order: namespaces, garbage, accounts, trust.

pub(crate) mod bootstrap_signer;
pub(crate) mod discovery;
pub(crate) mod garbage;
pub(crate) mod legacy_token;
pub(crate) mod namespace;
pub(crate) mod root_ca;
pub(crate) mod serviceaccount;
pub(crate) mod token;
pub(crate) mod token_cleaner;
