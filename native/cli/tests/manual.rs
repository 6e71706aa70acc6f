//! Tests the manual of every command: help texts, man pages and shell completions.

mod command;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use command::{answer, command, eid, text};

/// The commands that `eid help` lists.
fn commands() -> Vec<String> {
    let help = answer(&["-h"]);
    let shown = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = shown.map_while(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// A directory with the complete manual. Each test makes its own.
struct Manual(PathBuf);

impl Manual {
    fn make(test: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&folder);
        assert_eq!(answer(&["manual", folder.to_str().unwrap()]), "");
        Self(folder)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Returns true if this program is installed. Otherwise prints that the check is skipped.
fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    if !found {
        eprintln!("not checked: {program} is not installed");
    }
    found
}

/// Runs a program, asserts that it succeeds without a message on standard error, and returns its output.
fn silent(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert_eq!(
        (text(&output.stderr), output.status.code()),
        ("", Some(0)),
        "{program} {arguments:?}"
    );
    text(&output.stdout).to_owned()
}

#[test]
fn help_for_each_command() {
    let commands = commands();
    assert!(
        ["name", "lookup", "ps"]
            .iter()
            .all(|name| commands.iter().any(|it| it == name)),
        "{commands:?}"
    );
    let root = answer(&["help"]);
    assert_eq!(root, answer(&["--help"]));
    assert!(root.contains("Environment:") && root.contains("Exit status:"), "{root}");
    for name in &commands {
        // The general help contains an example of each command.
        assert!(root.contains(&format!("\n  eid {name} ")), "{name}: {root}");
        let help = answer(&["help", name]);
        assert_eq!(help, answer(&[name, "--help"]));
        assert!(help.contains("Exit status:") && help.contains("--help"), "{help}");
        // The introduction has at least two full sentences.
        let about = help.split("Usage:").next().unwrap();
        assert!(
            about.matches(". ").count() + about.matches(".\n").count() >= 2,
            "{about}"
        );
    }
    // The command `manual` is only for the build, so the help hides it.
    assert!(!root.contains("manual") && !commands.iter().any(|name| name == "manual"));
}

/// `eid` reports an unwritable output for a help text as for any other answer.
#[test]
fn help_that_can_not_be_written() {
    let asked = [
        &["help", "ps"][..],
        &["ps", "--help"],
        &["ps", "-h"],
        &["help"],
        &["--help"],
        &["--version"],
    ];
    for arguments in asked {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command(arguments, &[]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            text(&output.stderr).starts_with("eid: the answer can't be written"),
            "{arguments:?}"
        );
        let unread = std::io::pipe().unwrap().1;
        let output = command(arguments, &[]).stdout(unread).output().unwrap();
        assert_eq!(
            (output.status.code(), text(&output.stderr)),
            (Some(141), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn man_pages() {
    let manual = Manual::make("man_pages");
    let mut expected: Vec<String> = commands().iter().map(|name| format!("eid-{name}.1")).collect();
    expected.push("eid.1".to_owned());
    expected.sort();
    assert_eq!(manual.files("man/man1"), expected);
    for name in commands() {
        let page = manual.read(&format!("man/man1/eid-{name}.1"));
        assert!(
            page.contains(".SH \"EXIT STATUS\"\n  0  ") && !page.contains("EXTRA"),
            "{page}"
        );
        let plain = page.replace("\\-", "-");
        let help = answer(&["help", &name]);
        let options = help.lines().filter_map(|line| {
            let option = line.trim_start().strip_prefix("-h, ").unwrap_or(line.trim_start());
            option
                .starts_with("--")
                .then(|| option.split([' ', '=']).next().unwrap())
        });
        let options: Vec<&str> = options.collect();
        assert!(options.len() >= 2, "{help}");
        for option in options {
            assert!(plain.contains(&format!("\\fB{option}\\fR")), "{name}: {option}");
        }
    }
    let root = manual.read("man/man1/eid.1");
    assert!(
        root.contains(
            ".SH \"ENVIRONMENT\"
"
        ),
        "{root}"
    );
}

#[test]
fn man_pages_without_a_warning() {
    let manual = Manual::make("man_pages_without_a_warning");
    for file in manual.files("man/man1") {
        let page = manual.0.join("man/man1").join(&file);
        let page = page.to_str().unwrap();
        if is_here("groff") {
            let shown = silent("groff", &["-man", "-ww", "-Tutf8", page]);
            assert!(shown.contains("success"), "{shown}");
        }
        if is_here("mandoc") {
            silent("mandoc", &["-T", "lint", "-W", "error", page]);
        }
    }
}

#[test]
fn completions() {
    let manual = Manual::make("completions");
    assert_eq!(manual.files("completions"), ["_eid", "eid.bash", "eid.fish"]);
    for (shell, file) in [("bash", "eid.bash"), ("zsh", "_eid"), ("fish", "eid.fish")] {
        let script = manual.read(&format!("completions/{file}"));
        for name in commands() {
            assert!(script.contains(&name), "{file}: {name}");
        }
        assert!(!script.contains("manual"), "{file}");
        if is_here(shell) {
            silent(
                shell,
                &["-n", manual.0.join("completions").join(file).to_str().unwrap()],
            );
        }
    }
    // Runs the completion function as bash does.
    let file = manual.0.join("completions/eid.bash");
    let complete = |words: &[&str]| {
        let line = format!(
            ". {} && COMP_WORDS=(eid {}) COMP_CWORD={} && _eid eid {} {} && echo \"${{COMPREPLY[@]}}\"",
            file.display(),
            words.join(" "),
            words.len(),
            words.last().unwrap(),
            words.iter().rev().nth(1).unwrap_or(&"eid"),
        );
        silent("bash", &["-c", &line])
    };
    assert_eq!(complete(&["l"]), "lookup\n");
    for command in ["serve", "forward"] {
        assert_eq!(
            complete(&[command, "--log-level", "''"]),
            "error warn info debug trace\n"
        );
        assert_eq!(complete(&[command, "--log-level", "d"]), "debug\n");
    }
}

#[test]
fn a_folder_that_can_not_be_written() {
    let output = eid(&["manual", "/dev/null/x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("eid: the manual can't be written to /dev/null/x: "));
}
