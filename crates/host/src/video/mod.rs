//! From captured pictures to encoded packets for every viewer.
