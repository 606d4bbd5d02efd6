//! The S3 server of the tests as a program, for benchmarks and for trying things out.
//!
//! `s3_server <folder>` prints the variables that a client needs, a line each, and serves until its input ends.

use std::io::{Read as _, Write as _};
use std::path::Path;

use intellistor_tests::s3_server::S3Server;

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1) else {
        return Err(std::io::Error::other("which folder?"));
    };
    let server = S3Server::start(Path::new(&folder));
    let mut out = std::io::stdout().lock();
    for (name, value) in server.env() {
        writeln!(out, "{name}={value}")?;
    }
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
