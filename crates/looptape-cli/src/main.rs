#[allow(dead_code, reason = "the verbs that print it come with the command line")]
mod render;

fn main() {}
