//! The commands of the binary: what is asked for, where it is said, and the exit code.
//!
//! Whatever is printed goes through [`Streams`], so that tests read what a person would.

pub mod crds;
pub mod export;
pub mod plan;
pub mod run;
pub mod source;
pub mod version;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};

use clap::{Parser, Subcommand};

/// All is well; of `plan`: all pools are in sync.
pub const OK: u8 = 0;
/// Something is wrong, and was said.
pub const FAILED: u8 = 1;
/// `plan` found something to do.
pub const CHANGES: u8 = 2;

/// The commit this was built from, or `unknown`.
pub const COMMIT: &str = env!("POOLWRIGHT_COMMIT");

/// Keeps Ceph pools in the state that Kubernetes objects declare.
#[derive(Debug, Parser)]
#[command(
    name = "poolwright",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Plan(plan::Arguments),
    Export(export::Arguments),
    Crds(crds::Arguments),
    Version(version::Arguments),
}

/// Where a command reads and writes.
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// Everything else.
    pub err: &'a mut dyn Write,
}

/// Runs the command that a command line asks for; the exit code.
pub fn main(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    streams: &mut Streams<'_>,
) -> u8 {
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(answer) => return not_a_command(&answer, streams),
    };
    let ended = match command {
        Command::Run(arguments) => run::execute(arguments).map_err(Box::from),
        Command::Plan(arguments) => plan::execute(&arguments, streams).map_err(Box::from),
        Command::Export(arguments) => export::execute(&arguments, streams).map_err(Box::from),
        Command::Crds(arguments) => crds::execute(&arguments, streams).map_err(Box::from),
        Command::Version(arguments) => version::execute(arguments, streams).map_err(Box::from),
    };
    ended.unwrap_or_else(|error: Box<dyn Error>| {
        complain(streams.err, &format!("error: {}", chain(error.as_ref())));
        FAILED
    })
}

/// Help and version are asked for and printed; anything else clap says is a mistake. Its own code for that is 2, which
/// means "changes" here.
fn not_a_command(answer: &clap::Error, streams: &mut Streams<'_>) -> u8 {
    let text = answer.render().to_string();
    if answer.use_stderr() {
        complain(streams.err, text.trim_end());
        FAILED
    } else {
        match print(streams.out, &text) {
            Ok(()) => OK,
            Err(_) => FAILED,
        }
    }
}

/// Writes what was asked for. A reader that has seen enough (`| head`) is no fault.
fn print(out: &mut dyn Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line about what is wrong. Where that cannot be written, the exit code has to do.
fn complain(err: &mut dyn Write, line: &str) {
    let _ = writeln!(err, "{line}");
}

/// An error and its causes in one line, without what a cause says again.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The definition holds together, and every command and option says what it is for.
    #[test]
    fn everything_has_a_help_text() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{name} {}",
                    argument.get_id()
                );
            }
        }
    }

    /// Causes are joined, and not repeated.
    #[test]
    fn chains() {
        let cause = io::Error::other("the disk is full");
        let error = crds::CrdsError::Write {
            path: "crds/a.yaml".into(),
            source: cause,
        };
        assert_eq!(chain(&error), "cannot write crds/a.yaml: the disk is full");
        let again = io::Error::other(io::Error::other("the same"));
        assert_eq!(chain(&again), "the same");
    }
}
