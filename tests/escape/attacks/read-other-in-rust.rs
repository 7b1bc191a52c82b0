//! Reads a file of its agent that was not decided, from a static program in Rust.
//! Stopped by: landlock

fn main() {
    let read = std::fs::read("/workspace/other.txt");
    std::process::exit(if read.is_ok() { 0 } else { 1 });
}
