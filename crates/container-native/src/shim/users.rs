//! Who a container runs as, by its image's own passwd and group files.

use serde::{Deserialize, Serialize};

use super::protocol::User;

/// The user as pod and image ask for it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WantedUser {
    /// The pod's user id.
    pub(crate) uid: Option<i64>,
    /// The pod's group id.
    pub(crate) gid: Option<i64>,
    /// `user[:group]`, each a name or a number: the pod's user name, or the image's user.
    pub(crate) name: String,
    /// The pod's supplemental groups.
    pub(crate) groups: Vec<i64>,
    /// Whether the image's group file adds none.
    pub(crate) strict: bool,
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        let uid = parts.nth(1)?.parse().ok()?;
        Some(Passwd { name, uid, gid: parts.next()?.parse().ok()? })
    })
}

/// Name, id and members of each group.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        let gid = parts.nth(1)?.parse().ok()?;
        Some((name, gid, parts.next().unwrap_or_default()))
    })
}

fn id(number: i64) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("{number} is not a user or group id"))
}

/// Resolves the user with the texts of /etc/passwd and /etc/group. Also answers its home folder's
/// owner name, for `HOME`.
pub(super) fn resolve(
    wanted: &WantedUser,
    passwd_text: &str,
    group_text: &str,
) -> Result<User, String> {
    let (user_part, group_part) = match wanted.name.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (&*wanted.name, None),
    };
    let by_id = |uid: u32| passwd(passwd_text).find(|entry| entry.uid == uid);
    let (uid, entry) = match (wanted.uid, user_part) {
        (Some(uid), _) => (id(uid)?, by_id(id(uid)?)),
        (None, "") => (0, by_id(0)),
        (None, name) => match passwd(passwd_text).find(|entry| entry.name == name) {
            Some(entry) => (entry.uid, Some(entry)),
            None => {
                let uid = name.parse().map_err(|_| {
                    format!("unable to find user {name}: no matching entries in passwd file")
                })?;
                (uid, by_id(uid))
            }
        },
    };
    // A group of the image's user does not go with a user of the pod's choice.
    let group_part = group_part.filter(|_| wanted.uid.is_none());
    let gid = match (wanted.gid, group_part) {
        (Some(gid), _) => id(gid)?,
        (None, Some(name)) => groups(group_text)
            .find(|(group, _, _)| *group == name)
            .map(|(_, gid, _)| gid)
            .or_else(|| name.parse().ok())
            .ok_or_else(|| {
                format!("unable to find group {name}: no matching entries in group file")
            })?,
        (None, None) => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    let mut all = vec![gid];
    let mut add = |gid| {
        if !all.contains(&gid) {
            all.push(gid);
        }
    };
    if let (false, Some(entry)) = (wanted.strict, &entry) {
        for (_, gid, members) in groups(group_text) {
            if members.split(',').any(|member| member == entry.name) {
                add(gid);
            }
        }
    }
    for &gid in &wanted.groups {
        add(id(gid)?);
    }
    Ok(User { uid, gid, groups: all })
}

/// The home folder of a user; `/` for one without an entry.
pub(super) fn home(uid: u32, passwd_text: &str) -> String {
    passwd_text
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|parts| parts.len() > 5 && parts[2].parse() == Ok(uid))
        .map(|parts| parts[5].to_owned())
        .filter(|home| !home.is_empty())
        .unwrap_or_else(|| if uid == 0 { "/root".to_owned() } else { "/".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\naudio:x:29:web,other\nplug:x:46:other\n";

    fn check(wanted: WantedUser, expected: Result<(u32, u32, &[u32]), &str>) {
        let got = resolve(&wanted, PASSWD, GROUP);
        let got = got.as_ref().map(|user| (user.uid, user.gid, &*user.groups));
        assert_eq!(got.map_err(String::as_str), expected, "for {wanted:?}");
    }

    fn named(name: &str) -> WantedUser {
        WantedUser { name: name.into(), ..WantedUser::default() }
    }

    #[test]
    fn users_come_from_the_images_own_files() {
        check(named(""), Ok((0, 0, &[0])));
        check(named("web"), Ok((33, 34, &[34, 29])));
        check(named("33"), Ok((33, 34, &[34, 29])));
        check(named("web:plug"), Ok((33, 46, &[46, 29])));
        check(named("1000"), Ok((1000, 0, &[0])));
        check(named("1000:2000"), Ok((1000, 2000, &[2000])));
        check(
            named("nobody"),
            Err("unable to find user nobody: no matching entries in passwd file"),
        );
    }

    #[test]
    fn the_pod_has_the_last_word() {
        let wanted = WantedUser { uid: Some(33), groups: vec![7], ..named("root:plug") };
        check(wanted.clone(), Ok((33, 34, &[34, 29, 7])));
        check(WantedUser { strict: true, ..wanted.clone() }, Ok((33, 34, &[34, 7])));
        check(WantedUser { gid: Some(5), ..wanted }, Ok((33, 5, &[5, 29, 7])));
        assert_eq!(home(33, PASSWD), "/srv");
        assert_eq!(home(5, PASSWD), "/");
    }
}
