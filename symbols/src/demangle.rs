//! Names as their authors wrote them.

use std::borrow::Cow;

/// Longest mangled name that is taken apart, in bytes. Longer ones, real in template-heavy
/// programs, are shown as they are: the time of demangling is not linear in the length.
const LONGEST: usize = 4096;

/// The C++ or Rust name behind a mangled one; any other name comes back unchanged.
///
/// Rust's hash suffix is left out. A suffix after the mangled part that the linker or we added
/// (`@plt`, `@@VERSION`) is kept. Costs a parse of the name: call it once per function that is
/// shown, not per look-up.
pub fn demangle(name: &str) -> Cow<'_, str> {
    // No mangled name begins otherwise, and most names are plain ones.
    if name.len() > LONGEST || !name.starts_with(['_', 'R', 'Z']) {
        return Cow::Borrowed(name);
    }
    let (mangled, suffix) = match name.find('@') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    };
    if let Ok(rust) = rustc_demangle::try_demangle(mangled) {
        return Cow::Owned(format!("{rust:#}{suffix}"));
    }
    if mangled.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(mangled)
        && let Ok(cpp) = symbol.demangle()
    {
        return Cow::Owned(format!("{cpp}{suffix}"));
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn cpp_rust_and_plain_names_come_out_readable() {
        for (mangled, plain) in [
            ("_ZN3net6Packet4sendEPKcm", "net::Packet::send(char const*, unsigned long)"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi@plt",
                "std::vector<int, std::allocator<int> >::push_back(int const&)@plt",
            ),
            ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("tcp_sendmsg", "tcp_sendmsg"),
            ("_Z", "_Z"),
            ("@plt", "@plt"),
            ("", ""),
        ] {
            assert_eq!(demangle(mangled), plain);
        }
    }
}
