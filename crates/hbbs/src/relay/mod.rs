//! hbbr: pairs two connections that name the same uuid and moves their bytes.
