#![no_main]

/// The magic number, version and system of the legacy format: behind them the fuzzer's bytes are the pickle of the
/// tensors, the list of storages, and their numbers.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    alexnet_fuzz::open(data);
    alexnet_fuzz::open(&[LEGACY, data].concat());
});
