//! The container that this process runs in.

use std::sync::LazyLock;

use crate::node_name::is_full_id;

/// The full ID of the container that this process runs in: 64 hexadecimal digits. `None` outside of containers, and if nothing
/// shows the ID. The first call reads `/proc/self/mountinfo`; later calls return the same.
pub fn own_container() -> Option<&'static str> {
    static OWN: LazyLock<Option<String>> = LazyLock::new(|| {
        let mountinfo = std::fs::read("/proc/self/mountinfo").ok()?;
        container_id(&String::from_utf8_lossy(&mountinfo)).map(str::to_owned)
    });
    OWN.as_deref()
}

/// The files that Docker and Podman make for each container and mount into it from its own folder.
const OWN_FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// Finds the container's ID in the text of a `mountinfo` file (format in proc_pid_mountinfo(5)).
///
/// The files that the engine mounts come first, because they exist with both versions of cgroups. If the user has replaced all
/// three, the root of a cgroup mount still shows the ID with version 1.
fn container_id(mountinfo: &str) -> Option<&str> {
    let mounts = || mountinfo.lines().filter_map(Mount::parse);
    mounts()
        .filter(|mount| OWN_FILES.contains(&mount.point))
        .find_map(|mount| id_of_own_file(mount.root))
        .or_else(|| {
            mounts()
                .filter(|mount| mount.fs_type == "cgroup")
                .find_map(|mount| id_of_cgroup(mount.root))
        })
}

/// The relevant fields of a line. The file writes a blank in a path as `\040`, so fields split at blanks. The compared parts of
/// paths contain no escapes.
struct Mount<'a> {
    /// The directory or file of the mounted file system that appears at `point`.
    root: &'a str,
    point: &'a str,
    fs_type: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // A variable number of optional fields precedes the " - ".
        let (head, tail) = line.split_once(" - ")?;
        let mut fields = head.split(' ').skip(3);
        Some(Self {
            root: fields.next()?,
            point: fields.next()?,
            fs_type: tail.split(' ').next()?,
        })
    }
}

/// Docker: `…/containers/ID/hostname`; Podman: `…/overlay-containers/ID/userdata/hostname`, with the storage driver's
/// name before the hyphen. Kubernetes' `…/sandboxes/ID/hostname` belongs to a pod, and no engine knows its ID.
fn id_of_own_file(root: &str) -> Option<&str> {
    let mut above = "";
    root.split('/').find(|&part| {
        let in_containers = above == "containers" || above.ends_with("-containers");
        above = part;
        in_containers && is_full_id(part)
    })
}

/// Docker: `/docker/ID` or, with systemd, `…/docker-ID.scope`; Podman: `…/libpod-ID.scope`. The innermost ID counts, for
/// Docker in Docker.
fn id_of_cgroup(root: &str) -> Option<&str> {
    let mut below = root.split('/').rev().peekable();
    while let Some(part) = below.next() {
        let scope = part.strip_suffix(".scope").unwrap_or(part);
        let id = match scope.strip_prefix("docker-").or_else(|| scope.strip_prefix("libpod-")) {
            Some(id) => Some(id),
            None => (below.peek() == Some(&"docker")).then_some(part),
        };
        if let Some(id) = id.filter(|id| is_full_id(id)) {
            return Some(id);
        }
    }
    None
}

#[cfg(test)]
#[path = "../../tests/unit/own_container.rs"]
mod tests;
