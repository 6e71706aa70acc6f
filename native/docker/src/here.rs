//! The container that this process runs in.

use once_cell::sync::Lazy;

use crate::node_name::is_full_id;

/// The full ID of the container that this process runs in, 64 hexadecimal digits, or `None` outside of containers and
/// where it can't be known. Read once from `/proc/self/mountinfo`; later calls cost nothing.
pub fn own_container() -> Option<&'static str> {
    static OWN: Lazy<Option<String>> = Lazy::new(|| {
        let mountinfo = std::fs::read("/proc/self/mountinfo").ok()?;
        container_id(&String::from_utf8_lossy(&mountinfo)).map(str::to_owned)
    });
    OWN.as_deref()
}

/// The files that Docker and Podman make for each container and mount into it from its own folder.
const OWN_FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// Finds the container's ID in the text of a `mountinfo` file (format in proc_pid_mountinfo(5)).
///
/// The files that the engine mounts come first: they are there with both versions of cgroups. Where all three were
/// replaced by the user's own, version 1 still tells through the root of a cgroup mount.
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

/// The fields of a line that matter here. Blanks in paths are written `\040`, so fields split at blanks; no path that
/// is looked for has anything escaped in the parts that are compared.
struct Mount<'a> {
    /// The folder or file in the mounted file system that is seen at `point`.
    root: &'a str,
    point: &'a str,
    fs_type: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // Optional fields stand before the " - ", so what comes after has to be counted from there.
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
/// name before the hyphen. Kubernetes' `…/sandboxes/ID/hostname` is a pod's, and no engine knows that ID.
fn id_of_own_file(root: &str) -> Option<&str> {
    let mut above = "";
    root.split('/').find(|&part| {
        let in_containers = above == "containers" || above.ends_with("-containers");
        above = part;
        in_containers && is_full_id(part)
    })
}

/// Docker: `/docker/ID` or, with systemd, `…/docker-ID.scope`; Podman: `…/libpod-ID.scope`. The innermost one counts,
/// for Docker in Docker.
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
mod tests {
    use super::*;

    const ID: &str = "4f1c0b6a9d8e7f6054433221100ffeeddccbbaa99887766554433221100abcde";
    const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn line(root: &str, point: &str) -> String {
        format!("653 640 8:1 {root} {point} rw,relatime - ext4 /dev/sda1 rw,discard\n")
    }

    fn cgroup(root: &str) -> String {
        format!("660 659 0:30 {root} /sys/fs/cgroup/memory ro,nosuid master:14 - cgroup cgroup rw,memory\n")
    }

    #[test]
    fn inside_a_container() {
        let table = [
            // Docker, whatever its data root, also if that or a folder above is a file system of its own
            line(&format!("/var/lib/docker/containers/{ID}/hostname"), "/etc/hostname"),
            line(&format!("/srv/my\\040data/containers/{ID}/hosts"), "/etc/hosts"),
            line(&format!("/containers/{ID}/resolv.conf"), "/etc/resolv.conf"),
            line(&format!("/@/var/lib/docker/containers/{ID}/hostname"), "/etc/hostname"),
            // Podman
            line(
                &format!("/home/u/.local/share/containers/storage/overlay-containers/{ID}/userdata/hosts"),
                "/etc/hosts",
            ),
            line(
                &format!("/containers/storage/vfs-containers/{ID}/userdata/hostname"),
                "/etc/hostname",
            ),
            // one of the files is the user's
            line("/home/u/hosts", "/etc/hosts")
                + &line(&format!("/var/lib/docker/containers/{ID}/hostname"), "/etc/hostname"),
            // optional fields
            format!(
                "653 640 8:1 /var/lib/docker/containers/{ID}/hosts /etc/hosts rw shared:1 master:2 - xfs /dev/sda1 rw\n"
            ),
            // cgroups, version 1
            cgroup(&format!("/docker/{ID}")),
            cgroup(&format!("/system.slice/docker-{ID}.scope")),
            cgroup(&format!("/machine.slice/libpod-{ID}.scope")),
            cgroup(&format!("/machine.slice/libpod-{ID}.scope/container")),
            cgroup(&format!("/docker/{OTHER}/docker/{ID}")),
            // the files before the cgroups
            cgroup(&format!("/docker/{OTHER}"))
                + &line(&format!("/var/lib/docker/containers/{ID}/hostname"), "/etc/hostname"),
        ];
        for mountinfo in &table {
            assert_eq!(container_id(mountinfo), Some(ID), "{mountinfo}");
        }
    }

    #[test]
    fn outside_or_unknown() {
        let table = [
            String::new(),
            "garbage\n\n - \n1 2 3 4 5 6\n".to_owned(),
            line("/", "/"),
            // another container's file, seen from the host or mounted by the user elsewhere
            line(
                &format!("/var/lib/docker/containers/{ID}/mounts/shm"),
                &format!("/var/lib/docker/containers/{ID}/mounts/shm"),
            ),
            line(
                &format!("/var/lib/docker/containers/{ID}/hostname"),
                "/mnt/etc/hostname",
            ),
            // Kubernetes
            line(
                &format!("/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}/hostname"),
                "/etc/hostname",
            ),
            line(
                "/var/lib/kubelet/pods/0f6c8b1e-1111-2222-3333-444455556666/etc-hosts",
                "/etc/hosts",
            ),
            cgroup(&format!("/kubepods/burstable/pod0f6c8b1e/{ID}")),
            // no full lowercase ID
            line(
                &format!("/var/lib/docker/containers/{}/hostname", &ID[..63]),
                "/etc/hostname",
            ),
            line(&format!("/var/lib/docker/containers/{ID}0/hostname"), "/etc/hostname"),
            line(
                &format!("/var/lib/docker/containers/{}/hostname", ID.to_uppercase()),
                "/etc/hostname",
            ),
            // a name space of its own
            cgroup("/"),
            cgroup("/docker/buildkit"),
        ];
        for mountinfo in &table {
            assert_eq!(container_id(mountinfo), None, "{mountinfo}");
        }
    }
}
