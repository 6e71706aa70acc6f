//! `eid manual`: writes the man pages and the shell completions of all commands. The build runs it.

use std::fs::{create_dir_all, write};
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::{generate_to, Shell};
use clap_mangen::Man;

use crate::output::Failure;

const VERSION: &str = concat!("eid ", env!("CARGO_PKG_VERSION"));

/// Write man pages and shell completions into a folder
#[derive(Args)]
pub struct Arguments {
    /// The folder; the pages go to man/man1 in it, the completions to completions
    folder: PathBuf,
}

/// Runs `eid manual`.
pub fn run(arguments: &Arguments, command: Command) -> Result<(), Failure> {
    let Arguments { folder } = arguments;
    let written = pages(&folder.join("man/man1"), command.clone())
        .and_then(|()| completions(&folder.join("completions"), command));
    written.map_err(|error| Failure::Other(format!("the manual can't be written to {}: {error}", folder.display())))
}

/// Writes a page for each visible command: `eid.1`, `eid-name.1` and so on.
fn pages(folder: &Path, command: Command) -> io::Result<()> {
    create_dir_all(folder)?;
    // `eid help` needs no page.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    page(folder, &command)?;
    let mut shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.try_for_each(|command| page(folder, command))
}

fn page(folder: &Path, command: &Command) -> io::Result<()> {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).source(VERSION).manual("eid");
    let file = folder.join(man.get_filename());
    man.render(&mut page)?;
    write(file, titled(&String::from_utf8_lossy(&page)))
}

/// Turns each titled part below a command's help, such as `Exit status:`, into a section of the page.
fn titled(page: &str) -> String {
    let mut in_extra = false;
    let mut titled = String::new();
    for line in page.lines() {
        if line.starts_with(".SH ") {
            in_extra = line == ".SH EXTRA";
            if in_extra {
                continue;
            }
        }
        match line
            .strip_suffix(':')
            .filter(|title| in_extra && !title.starts_with([' ', '.']))
        {
            Some(title) => titled.push_str(&format!(".SH \"{}\"", title.to_uppercase())),
            None => titled.push_str(line),
        }
        titled.push('\n');
    }
    titled
}

/// Writes the completions for each shell, without hidden commands.
fn completions(folder: &Path, command: Command) -> io::Result<()> {
    create_dir_all(folder)?;
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut command = Command::new("eid").version(VERSION).subcommands(shown);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "eid", folder)?;
    }
    Ok(())
}
