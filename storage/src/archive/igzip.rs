//! ISA-L's compressor: two to three times as fast as libdeflate's fastest level, with output a few percent larger.
//! `igzip.c` is the other
//! half.

#![expect(unsafe_code, reason = "it is C")]

unsafe extern "C" {
    safe fn intellistor_igzip_tables() -> usize;
    fn intellistor_igzip(
        input: *const u8,
        input_bytes: u32,
        out: *mut u8,
        out_bytes: u32,
        tables: *mut u8,
    ) -> usize;
}

/// The compressor's memory.
pub(super) struct Igzip {
    tables: Vec<u8>,
}

impl Igzip {
    pub(super) fn new() -> Self {
        Self { tables: vec![0; intellistor_igzip_tables()] }
    }

    /// Makes a gzip member in `out`; `None` when it does not fit.
    pub(super) fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        let (input_bytes, out_bytes) = (u32::try_from(input.len()).ok()?, u32::try_from(out.len()).ok()?);
        // SAFETY: both slices and the tables are valid for the lengths that are given, the tables' length being the one
        // that the same C states, and none of them overlap. The input is only read. The C keeps no pointer: its stream
        // is on its stack.
        let bytes = unsafe {
            intellistor_igzip(
                input.as_ptr(),
                input_bytes,
                out.as_mut_ptr(),
                out_bytes,
                self.tables.as_mut_ptr(),
            )
        };
        (bytes > 0).then_some(bytes)
    }
}
