//! `Impersonate-User` and its kin: a caller that may, acts as another.

use std::collections::BTreeMap;

use api::status::{ApiError, ApiResult};
use auth::{Attributes, ResourceAttributes, Target, UserInfo, groups, users};
use http::HeaderMap;

use super::authz;
use crate::request::percent_decode;
use crate::server::Core;

const EXTRA_PREFIX: &str = "impersonate-extra-";

/// Whom the headers ask to be, if the caller may be that.
///
/// # Errors
/// 403 when it may not, 400 when a group is asked for without a user.
pub(crate) async fn impersonate(
    core: &Core,
    caller: &UserInfo,
    headers: &HeaderMap,
) -> ApiResult<Option<UserInfo>> {
    let asked = Asked::of(headers);
    let Some(username) = asked.user.clone() else {
        if asked.is_empty() {
            return Ok(None);
        }
        return Err(ApiError::internal(format!(
            "requested {:?} without impersonating a user",
            asked.groups
        )));
    };
    for target in asked.targets(&username) {
        let attributes = Attributes { user: caller.clone(), target: Target::Resource(target) };
        authz::authorize(core, &attributes).await?;
    }
    Ok(Some(asked.identity(username)))
}

#[derive(Default)]
struct Asked {
    user: Option<String>,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Asked {
    fn of(headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        for (name, value) in headers {
            let Ok(value) = value.to_str() else { continue };
            match name.as_str() {
                "impersonate-user" => asked.user = Some(value.to_owned()),
                "impersonate-uid" => asked.uid = Some(value.to_owned()),
                "impersonate-group" => asked.groups.push(value.to_owned()),
                other => {
                    if let Some(key) = other.strip_prefix(EXTRA_PREFIX) {
                        let key = percent_decode(key).to_ascii_lowercase();
                        asked.extra.entry(key).or_default().push(value.to_owned());
                    }
                }
            }
        }
        asked
    }

    fn is_empty(&self) -> bool {
        self.user.is_none() && self.uid.is_none() && self.groups.is_empty() && self.extra.is_empty()
    }

    fn targets(&self, username: &str) -> Vec<ResourceAttributes> {
        let target = |group: &str, resource: &str, name: &str| ResourceAttributes {
            verb: "impersonate".to_owned(),
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..ResourceAttributes::default()
        };
        let mut targets = Vec::new();
        let account = username
            .strip_prefix(users::SERVICE_ACCOUNT_PREFIX)
            .and_then(|rest| rest.split_once(':'));
        targets.push(match account {
            Some((namespace, name)) => ResourceAttributes {
                namespace: namespace.to_owned(),
                ..target("", "serviceaccounts", name)
            },
            None => target("", "users", username),
        });
        targets.extend(self.groups.iter().map(|group| target("", "groups", group)));
        const GROUP: &str = "authentication.k8s.io";
        for (key, values) in &self.extra {
            targets.extend(values.iter().map(|value| ResourceAttributes {
                subresource: key.clone(),
                ..target(GROUP, "userextras", value)
            }));
        }
        targets.extend(self.uid.iter().map(|uid| target(GROUP, "uids", uid)));
        targets
    }

    fn identity(self, username: String) -> UserInfo {
        let mut all = self.groups;
        let account = username
            .strip_prefix(users::SERVICE_ACCOUNT_PREFIX)
            .and_then(|rest| rest.split_once(':'));
        if let (Some((namespace, _)), true) = (account, all.is_empty()) {
            all.push(groups::SERVICE_ACCOUNTS.to_owned());
            all.push(format!("{}{namespace}", groups::SERVICE_ACCOUNTS_PREFIX));
        }
        let natural = if username == users::ANONYMOUS {
            groups::UNAUTHENTICATED
        } else {
            groups::AUTHENTICATED
        };
        let has_natural = all
            .iter()
            .any(|group| group == groups::AUTHENTICATED || group == groups::UNAUTHENTICATED);
        if !has_natural {
            all.push(natural.to_owned());
        }
        UserInfo { username, uid: self.uid.unwrap_or_default(), groups: all, extra: self.extra }
    }
}
