//! Compiles the shim around ISA-L where the feature asks for it.

fn main() {
    println!("cargo::rerun-if-changed=src/archive/igzip.c");
    #[cfg(feature = "isal")]
    {
        cc::Build::new().file("src/archive/igzip.c").warnings_into_errors(true).compile("intellistor_igzip");
        // Into the programs, so that they run where the library is not installed. Unbundled: the linker knows where the
        // system keeps it.
        println!("cargo::rustc-link-lib=static:-bundle=isal");
    }
}
