//! `Impersonate-User` and its kin: a caller that may, acts as another.
//!
//! Two ways. The old one (verb `impersonate`) gives whatever the other may do. The constrained one
//! (KEP-5284) takes two permissions: to be that kind of other (`impersonate:MODE`), and to do this
//! very thing as such (`impersonate-on:MODE:VERB`). Each mode is asked in turn; the refusal that the
//! caller reads is the first mode's that applied, as upstream has it.

use std::collections::BTreeMap;

use api::status::{ApiError, ApiResult};
use auth::{Attributes, ResourceAttributes, Target, UserInfo, groups, users};
use http::HeaderMap;

use super::authz;
use crate::request::percent_decode;
use crate::server::Core;

const EXTRA_PREFIX: &str = "impersonate-extra-";
const GROUP: &str = "authentication.k8s.io";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_KEYS: &str = "authentication.kubernetes.io/associated-node-keys";
/// From this many groups or values on, one question about all of them is asked first.
const MANY: usize = 4;

/// Whom the headers ask to be, if the caller may be that for this request.
///
/// # Errors
/// 403 when it may not, 400 when something is asked for without a user.
pub(crate) async fn impersonate(
    core: &Core,
    request: &Attributes,
    headers: &HeaderMap,
) -> ApiResult<Option<UserInfo>> {
    let Some(wanted) = wanted(headers)? else { return Ok(None) };
    let mut first = None;
    for mode in MODES {
        if !mode.applies(&wanted, &request.user) {
            continue;
        }
        let check = Check { core, mode: *mode, request, wanted: &wanted };
        match check.run().await {
            Ok(user) => return Ok(Some(user)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| ApiError::internal("all impersonation modes failed")))
}

/// The user that the headers name, as it stands there.
fn wanted(headers: &HeaderMap) -> ApiResult<Option<UserInfo>> {
    let mut wanted = UserInfo::default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        match name.as_str() {
            "impersonate-user" if wanted.username.is_empty() => wanted.username = value.to_owned(),
            "impersonate-uid" if wanted.uid.is_empty() => wanted.uid = value.to_owned(),
            "impersonate-group" => wanted.groups.push(value.to_owned()),
            other => {
                if let Some(key) = other.strip_prefix(EXTRA_PREFIX) {
                    let key = percent_decode(&key.to_ascii_lowercase()).into_owned();
                    extra.entry(key).or_default().push(value.to_owned());
                }
            }
        }
    }
    wanted.extra = extra;
    let asks = !wanted.uid.is_empty() || !wanted.groups.is_empty() || !wanted.extra.is_empty();
    if wanted.username.is_empty() && asks {
        let text =
            format!("requested {} without impersonating a user name", as_go_writes_it(&wanted));
        return Err(ApiError::bad_request(text));
    }
    Ok((!wanted.username.is_empty()).then_some(wanted))
}

/// Go's `%#v` of a user.
fn as_go_writes_it(user: &UserInfo) -> String {
    let list = |list: &[String]| {
        let quoted: Vec<_> = list.iter().map(|one| format!("{one:?}")).collect();
        format!("[]string{{{}}}", quoted.join(", "))
    };
    let groups =
        if user.groups.is_empty() { "[]string(nil)".to_owned() } else { list(&user.groups) };
    let extra = if user.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let pairs: Vec<_> =
            user.extra.iter().map(|(key, values)| format!("{key:?}:{}", list(values))).collect();
        format!("map[string][]string{{{}}}", pairs.join(", "))
    };
    format!(
        "&user.DefaultInfo{{Name:{:?}, UID:{:?}, Groups:{groups}, Extra:{extra}}}",
        user.username, user.uid
    )
}

/// A way to be somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A pod as the node that it runs on.
    AssociatedNode,
    /// Any node.
    ArbitraryNode,
    /// A service account.
    ServiceAccount,
    /// Anybody who is neither.
    UserInfo,
    /// The old way.
    Legacy,
}

const MODES: &[Mode] = &[
    Mode::AssociatedNode,
    Mode::ArbitraryNode,
    Mode::ServiceAccount,
    Mode::UserInfo,
    Mode::Legacy,
];

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::AssociatedNode => "associated-node",
            Self::ArbitraryNode => "arbitrary-node",
            Self::ServiceAccount => "serviceaccount",
            Self::UserInfo => "user-info",
            Self::Legacy => "",
        }
    }

    fn applies(self, wanted: &UserInfo, requestor: &UserInfo) -> bool {
        let only_name =
            wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
        let (node, account) = (node_of(&wanted.username), account_of(&wanted.username));
        match self {
            Self::AssociatedNode => {
                let own = requestor.extra.get(NODE_NAME).map(Vec::as_slice);
                only_name
                    && account_of(&requestor.username).is_some()
                    && matches!((node, own), (Some(node), Some([own])) if node == own)
            }
            Self::ArbitraryNode => only_name && node.is_some(),
            Self::ServiceAccount => only_name && account.is_some(),
            Self::UserInfo => node.is_none() && account.is_none(),
            Self::Legacy => true,
        }
    }
}

fn node_of(username: &str) -> Option<&str> {
    let name = username.strip_prefix(users::NODE_PREFIX)?;
    api::validate::dns1123_subdomain(name).is_empty().then_some(name)
}

fn account_of(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) =
        username.strip_prefix(users::SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let valid = api::validate::dns1123_label(namespace).is_empty()
        && api::validate::dns1123_subdomain(name).is_empty();
    valid.then_some((namespace, name))
}

/// One mode at work.
struct Check<'a> {
    core: &'a Core,
    mode: Mode,
    request: &'a Attributes,
    wanted: &'a UserInfo,
}

impl Check<'_> {
    fn is_constrained(&self) -> bool {
        self.mode != Mode::Legacy
    }

    async fn run(&self) -> ApiResult<UserInfo> {
        if self.is_constrained() {
            let verb = |own: &str| format!("impersonate-on:{}:{own}", self.mode.name());
            let mut on = self.request.target.clone();
            match &mut on {
                Target::Resource(target) => target.verb = verb(&target.verb),
                Target::NonResource(target) => target.verb = verb(&target.verb),
            }
            self.ask(on).await?;
        }
        let mut user = self.wanted.clone();
        self.username(&mut user).await?;
        if !self.wanted.uid.is_empty() {
            self.ask(self.target(GROUP, "uids", "", &self.wanted.uid)).await?;
        }
        self.groups().await?;
        self.extra().await?;
        let natural = if user.username == users::ANONYMOUS {
            Some(groups::UNAUTHENTICATED)
        } else {
            (!user.is_in(groups::UNAUTHENTICATED)).then_some(groups::AUTHENTICATED)
        };
        if let Some(natural) = natural.filter(|group| !user.is_in(group)) {
            user.groups.push(natural.to_owned());
        }
        Ok(user)
    }

    /// A target of the verb by which somebody may be impersonated.
    fn target(&self, group: &str, resource: &str, subresource: &str, name: &str) -> Target {
        let verb = match self.mode {
            Mode::Legacy => "impersonate".to_owned(),
            mode => format!("impersonate:{}", mode.name()),
        };
        Target::Resource(ResourceAttributes {
            verb,
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: name.to_owned(),
            ..ResourceAttributes::default()
        })
    }

    /// The group of users and groups: the core group in the old way, for it always was.
    fn user_group(&self) -> &'static str {
        if self.is_constrained() { GROUP } else { "" }
    }

    async fn ask(&self, target: Target) -> ApiResult<()> {
        let mut user = self.request.user.clone();
        if self.mode == Mode::AssociatedNode {
            // That the node is the caller's own was seen already; what else its token says does not
            // matter.
            let keys: Vec<String> = user.extra.into_keys().collect();
            user.extra = BTreeMap::from([(NODE_KEYS.to_owned(), keys)]);
        }
        authz::authorize(self.core, &Attributes { user, target }).await
    }

    async fn username(&self, user: &mut UserInfo) -> ApiResult<()> {
        let name = &self.wanted.username;
        let group = self.user_group();
        if let Some(node) = node_of(name).filter(|_| self.is_constrained()) {
            user.groups = vec![groups::NODES.to_owned()];
            let shown = if self.mode == Mode::AssociatedNode { "*" } else { node };
            return self.ask(self.target(group, "nodes", "", shown)).await;
        }
        let Some((namespace, account)) = account_of(name) else {
            return self.ask(self.target(group, "users", "", name)).await;
        };
        if self.wanted.groups.is_empty() {
            user.groups = vec![
                groups::SERVICE_ACCOUNTS.to_owned(),
                format!("{}{namespace}", groups::SERVICE_ACCOUNTS_PREFIX),
            ];
        }
        let mut target = self.target(group, "serviceaccounts", "", account);
        if let Target::Resource(target) = &mut target {
            target.namespace = namespace.to_owned();
        }
        self.ask(target).await
    }

    async fn groups(&self) -> ApiResult<()> {
        let wanted = &self.wanted.groups;
        let target = |name: &str| self.target(self.user_group(), "groups", "", name);
        if self.is_constrained() {
            if wanted.iter().any(String::is_empty) {
                return self
                    .refuse(target(""), "impersonating the empty string group is not allowed");
            }
            if self.wanted.is_in(groups::MASTERS) {
                return self.refuse(
                    target(groups::MASTERS),
                    "impersonating the system:masters group is not allowed",
                );
            }
            if wanted.len() >= MANY && self.ask(target("*")).await.is_ok() {
                return Ok(());
            }
        }
        for group in wanted {
            self.ask(target(group)).await?;
        }
        Ok(())
    }

    async fn extra(&self) -> ApiResult<()> {
        let wanted = &self.wanted.extra;
        let target = |key: &str, value: &str| self.target(GROUP, "userextras", key, value);
        if self.is_constrained() {
            if let Some(why) = wanted.iter().find_map(|(key, values)| wrong_extra(key, values)) {
                return self.refuse(target("", ""), &why);
            }
            let count: usize = wanted.values().map(Vec::len).sum();
            if count >= MANY && self.ask(target("*", "*")).await.is_ok() {
                return Ok(());
            }
        }
        for (key, values) in wanted {
            for value in values {
                self.ask(target(key, value)).await?;
            }
        }
        Ok(())
    }

    fn refuse(&self, target: Target, why: &str) -> ApiResult<()> {
        let attributes = Attributes { user: self.request.user.clone(), target };
        Err(authz::refusal(&attributes, why))
    }
}

fn wrong_extra(key: &str, values: &[String]) -> Option<String> {
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".to_owned());
    }
    if !key.split_once('/').is_some_and(|(domain, path)| !domain.is_empty() && !path.is_empty()) {
        return Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {key:?}: must be a domain-prefixed path (such as \"acme.io/foo\")"
        ));
    }
    if key != key.to_lowercase() {
        return Some(format!("impersonating a non-lowercase key in extra is not allowed: {key:?}"));
    }
    values
        .iter()
        .any(String::is_empty)
        .then(|| "impersonating the empty string value in extra is not allowed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_without_a_user_is_said_as_go_would() {
        let mut headers = HeaderMap::new();
        headers.append("impersonate-group", "a".parse().unwrap());
        headers.append("impersonate-extra-scopes%2fx", "v".parse().unwrap());
        let error = wanted(&headers).unwrap_err();
        assert_eq!(error.code(), 400);
        assert_eq!(
            error.to_string(),
            r#"requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"a"}, Extra:map[string][]string{"scopes/x":[]string{"v"}}} without impersonating a user name"#
        );
        assert!(wanted(&HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn which_modes_apply() {
        let check = |wanted: UserInfo, expected: &[Mode]| {
            let mut pod = UserInfo::named("system:serviceaccount:a:agent", &[]);
            pod.extra.insert(NODE_NAME.to_owned(), vec!["n1".to_owned()]);
            let found: Vec<Mode> =
                MODES.iter().copied().filter(|mode| mode.applies(&wanted, &pod)).collect();
            assert_eq!(found, expected, "{wanted:?}");
        };
        let bare = |name: &str| UserInfo { username: name.to_owned(), ..UserInfo::default() };
        check(bare("system:node:n1"), &[Mode::AssociatedNode, Mode::ArbitraryNode, Mode::Legacy]);
        check(bare("system:node:n2"), &[Mode::ArbitraryNode, Mode::Legacy]);
        check(bare("system:serviceaccount:a:b"), &[Mode::ServiceAccount, Mode::Legacy]);
        check(bare("ann"), &[Mode::UserInfo, Mode::Legacy]);
        let grouped = UserInfo { groups: vec!["g".into()], ..bare("system:node:n1") };
        check(grouped, &[Mode::Legacy]);
    }
}
