//! A shim without Ferry around it, for this crate's tests and measurements.

fn main() {
    match container_native::shim::dispatch() {
        Some(code) => std::process::exit(code),
        None => {
            eprintln!("usage: ferry-shim {} …", container_native::shim::SUBCOMMAND);
            std::process::exit(2);
        }
    }
}
