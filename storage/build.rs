//! Compiles the shim around ISA-L where the feature asks for it.

fn main() {
    println!("cargo::rerun-if-changed=src/archive/igzip.c");
    #[cfg(feature = "isal")]
    {
        cc::Build::new().file("src/archive/igzip.c").warnings_into_errors(true).compile("intellistor_igzip");
        // Packages hold the library (`packaging/isal`), for it is one more thing to install; few systems have a static one.
        println!("cargo::rerun-if-env-changed=ISAL_STATIC");
        let kind = if std::env::var_os("ISAL_STATIC").is_some() { "static=" } else { "" };
        println!("cargo::rustc-link-lib={kind}isal");
    }
}
