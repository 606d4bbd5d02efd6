//! The S3 server of the tests, to try things by hand:
//!
//! ```text
//! cargo run --release -p intellistor-tests --example s3_server -- FOLDER
//! ```
//! It prints the variables that point the programs at it, and serves until it is stopped.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::path::PathBuf;

use intellistor_tests::s3_server::S3Server;

fn main() {
    let folder = std::env::args_os().nth(1).map_or_else(|| "target/s3".into(), PathBuf::from);
    let server = S3Server::start(&folder);
    for (name, value) in server.env() {
        println!("export {name}='{value}'");
    }
    loop {
        std::thread::park();
    }
}
