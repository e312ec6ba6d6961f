//! Live sessions by handle: pictures, waiting, typing.
