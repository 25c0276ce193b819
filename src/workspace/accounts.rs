//! Users and groups of this machine, from `/etc/passwd` and `/etc/group`. What another directory service knows is not
//! known here, and is told as unknown.

use std::collections::BTreeSet;

/// The most that one of the two files may hold, in bytes.
const LIMIT: u64 = 16 << 20;

/// What both files say.
#[derive(Debug, Default)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

#[derive(Debug)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

impl Accounts {
    /// Reads them; what can't be read holds nobody.
    #[must_use]
    pub fn load() -> Self {
        let text = |path: &str| {
            let bytes = super::contents(path.as_ref(), LIMIT).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Self::parse(&text("/etc/passwd"), &text("/etc/group"))
    }

    fn parse(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let mut fields = line.split(':');
            Some(User {
                name: fields.next()?.to_owned(),
                uid: fields.nth(1)?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
            })
        };
        let group_of = |line: &str| {
            let mut fields = line.split(':');
            Some(Group {
                name: fields.next()?.to_owned(),
                gid: fields.nth(1)?.parse().ok()?,
                members: fields
                    .next()?
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
            })
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_of).collect(),
        }
    }

    /// The name of a user, or the number where it has none.
    #[must_use]
    pub fn user(&self, uid: u32) -> String {
        let user = self.users.iter().find(|user| user.uid == uid);
        user.map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    /// The name of a group, or the number where it has none.
    #[must_use]
    pub fn group(&self, gid: u32) -> String {
        let group = self.groups.iter().find(|group| group.gid == gid);
        group.map_or_else(|| gid.to_string(), |group| group.name.clone())
    }

    /// The users of a group that is the own one of at least one of them; `None` where it is nobody's own, or a member is
    /// not known here: who else is in it can't be told.
    #[must_use]
    pub fn members(&self, gid: u32) -> Option<BTreeSet<u32>> {
        let mut members: BTreeSet<u32> = self
            .users
            .iter()
            .filter(|user| user.gid == gid)
            .map(|user| user.uid)
            .collect();
        if members.is_empty() {
            return None;
        }
        for name in self
            .groups
            .iter()
            .filter(|group| group.gid == gid)
            .flat_map(|group| &group.members)
        {
            members.insert(self.users.iter().find(|user| user.name == *name)?.uid);
        }
        Some(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_group_is_told_from_one_with_others_in_it() {
        let accounts = Accounts::parse(
            "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/:/bin/sh\nodd line\n",
            "root:x:0:\nann:x:1000:\nbob:x:1001:ann\nstaff:x:50:ann\nfar:x:1002:somebody\n",
        );
        assert_eq!(accounts.members(1000), Some(BTreeSet::from([1000])));
        assert_eq!(accounts.members(1001), Some(BTreeSet::from([1000, 1001])));
        assert_eq!(accounts.members(50), None);
        assert_eq!(accounts.members(7), None);
        assert_eq!(
            (accounts.user(1001), accounts.user(5)),
            ("bob".to_owned(), "5".to_owned())
        );
        assert_eq!(accounts.group(50), "staff");
    }
}
