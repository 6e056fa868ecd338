//! The `witgate` program, built with the tests: cargo tells them where it is, which it does not for another package's.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    // help is to show the program's own name
    let arguments = std::iter::once(OsString::from("witgate")).chain(std::env::args_os().skip(1));
    witgate::cli::main(arguments)
}
