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
