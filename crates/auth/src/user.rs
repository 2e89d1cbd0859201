//! A caller's identity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Who a request comes from, in the form of `authentication.k8s.io/v1 UserInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// The name, `system:node:edge-1`.
    pub username: String,
    /// The UID, if the source knows one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What else the source says, `authentication.kubernetes.io/pod-name` among it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Well-known groups.
pub mod groups {
    /// May do everything.
    pub const MASTERS: &str = "system:masters";
    /// Everyone who is somebody.
    pub const AUTHENTICATED: &str = "system:authenticated";
    /// Everyone who is nobody.
    pub const UNAUTHENTICATED: &str = "system:unauthenticated";
    /// All kubelets.
    pub const NODES: &str = "system:nodes";
    /// All service accounts.
    pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
    /// All service accounts of a namespace: this and the namespace's name.
    pub const SERVICE_ACCOUNTS_PREFIX: &str = "system:serviceaccounts:";
}

/// Well-known users.
pub mod users {
    /// Nobody.
    pub const ANONYMOUS: &str = "system:anonymous";
    /// The API server itself.
    pub const APISERVER: &str = "system:apiserver";
    /// The scheduler.
    pub const SCHEDULER: &str = "system:kube-scheduler";
    /// The controllers.
    pub const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
    /// A kubelet: this and the node's name.
    pub const NODE_PREFIX: &str = "system:node:";
    /// A service account: this, its namespace, a colon and its name.
    pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
}

impl UserInfo {
    /// A caller with a name and groups; `system:authenticated` is added.
    #[must_use]
    pub fn named(username: &str, groups: &[&str]) -> Self {
        let mut all: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        if !all.iter().any(|group| group == groups::AUTHENTICATED) {
            all.push(groups::AUTHENTICATED.to_owned());
        }
        Self { username: username.to_owned(), groups: all, ..Self::default() }
    }

    /// A service account.
    #[must_use]
    pub fn of_service_account(namespace: &str, name: &str) -> Self {
        let own = format!("{}{namespace}", groups::SERVICE_ACCOUNTS_PREFIX);
        let username = crate::token::service_account_username(namespace, name);
        Self::named(&username, &[groups::SERVICE_ACCOUNTS, &own])
    }

    /// The caller that brought no credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            username: users::ANONYMOUS.to_owned(),
            groups: vec![groups::UNAUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// Whether the caller is in a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The node's name, when the caller is a kubelet.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        self.username.strip_prefix(users::NODE_PREFIX).filter(|_| self.is_in(groups::NODES))
    }

    /// Namespace and name, when the caller is a service account.
    #[must_use]
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.username.strip_prefix(users::SERVICE_ACCOUNT_PREFIX)?.split_once(':')
    }
}
