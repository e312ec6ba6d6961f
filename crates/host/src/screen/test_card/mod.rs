//! p
#[derive(Debug)]
pub struct TestCard;
