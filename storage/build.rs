//! Compiles the shim around ISA-L where the feature asks for it.

fn main() {
    println!("cargo::rerun-if-changed=src/archive/igzip.c");
    #[cfg(feature = "isal")]
    {
        cc::Build::new().file("src/archive/igzip.c").warnings_into_errors(true).compile("intellistor_igzip");
        println!("cargo::rustc-link-lib=isal");
    }
}
