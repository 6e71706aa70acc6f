//! The source layout: modules use only modules below them, and files and folders stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// A module may use the modules after it in this list. See the documentation of the crate.
const LAYERS: [&str; 8] = [
    "naming",
    "directory",
    "follower",
    "api",
    "route",
    "container",
    "node_name",
    "error",
];

const MAX_LINES: usize = 400;
const MAX_FILES: usize = 12;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files below a folder. Fails if a folder has too many.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let (folders, mut found): (Vec<_>, Vec<_>) = entries.into_iter().partition(|path| path.is_dir());
    assert!(
        found.len() <= MAX_FILES,
        "{} has {} files",
        folder.display(),
        found.len()
    );
    found.extend(folders.iter().flat_map(|folder| files(folder)));
    found
}

#[test]
fn modules_use_only_modules_below_them() {
    let rank = |module: &str| LAYERS.iter().position(|layer| *layer == module);
    for file in files(&source()) {
        let path = file.strip_prefix(source()).unwrap().with_extension("");
        let module = path.iter().next().unwrap().to_str().unwrap();
        if module == "lib" {
            continue;
        }
        let own = rank(module).unwrap_or_else(|| panic!("{module} is not in the list"));
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for used in code.flat_map(|line| line.split("crate::").skip(1)) {
            let name = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            assert!(rank(name).is_some_and(|rank| rank >= own), "{module} uses {name}");
        }
    }
}

#[test]
fn files_are_short() {
    for file in files(&source()) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
    }
}
