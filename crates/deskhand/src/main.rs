//! See and operate any remote machine: for AI models, people and scripts.

fn main() {}
