#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (deskhand_tests::oracle::oracle("pictures").expect("is there").check)(data));
