//! The binary `poolwright`: everything is in [`poolwright::cli`].

use std::io;
use std::process::ExitCode;

use poolwright::cli::{self, Streams};

fn main() -> ExitCode {
    let mut streams = Streams {
        input: &mut io::stdin(),
        out: &mut io::stdout(),
        err: &mut io::stderr(),
    };
    ExitCode::from(cli::main(std::env::args_os(), &mut streams))
}
