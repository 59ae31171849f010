//! hippofs.
fn main() {}
