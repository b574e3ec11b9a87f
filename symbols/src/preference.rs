//! Which of several names for one address is shown.
//!
//! Compilers, linker scripts and C libraries give many addresses several names. The first
//! difference in this list decides:
//!
//! 1. a function before a mark of where a section begins (`_stext`, `__entry_text_start`) or of
//!    where what precedes it ends (`trampoline_end`);
//! 2. a symbol whose size is known before one without;
//! 3. visible in other files (global or weak) before local;
//! 4. fewer leading underscores: `write` before `__write`, though the former is the weak one;
//! 5. global before weak;
//! 6. the shorter name;
//! 7. the alphabetically first name, then source file, then module, so that the order of the
//!    input never matters.

use std::cmp::{Ordering, Reverse};

use crate::symbol::Binding;

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender<'a> {
    pub(crate) name: &'a str,
    pub(crate) source_file: &'a str,
    pub(crate) module: &'a str,
    pub(crate) size: u64,
    pub(crate) binding: Binding,
}

/// `Less` when `a` is the name to show. Total: equal only for contenders equal in every field.
pub(crate) fn compare(a: &Contender<'_>, b: &Contender<'_>) -> Ordering {
    let key = |c: &Contender<'_>| {
        (
            is_section_mark(c.name) || c.name.ends_with("_end"),
            c.size == 0,
            c.binding == Binding::Local,
            c.name.len() - c.name.trim_start_matches('_').len(),
            c.binding == Binding::Weak,
            c.name.len(),
        )
    };
    key(a).cmp(&key(b)).then_with(|| {
        (a.name, a.source_file, a.module, Reverse(a.size), a.binding).cmp(&(
            b.name,
            b.source_file,
            b.module,
            Reverse(b.size),
            b.binding,
        ))
    })
}

/// Whether a linker script put the name there to mark the border of a text section.
pub(crate) fn is_section_mark(name: &str) -> bool {
    is_section_end(name) || is_section_start(name)
}

/// Whether the name marks where a text section ends, or where an image would begin if it had no
/// headers; what follows it is not code of that name.
pub(crate) fn is_section_end(name: &str) -> bool {
    let bare = name.trim_start_matches('_');
    name.starts_with('_')
        && (bare == "image_base__"
            || bare.ends_with("text_end")
            || bare.ends_with("thunk_end")
            || bare.strip_prefix('e').is_some_and(is_text_section))
}

fn is_section_start(name: &str) -> bool {
    let bare = name.trim_start_matches('_');
    let bare = bare.strip_prefix("pi_").unwrap_or(bare).trim_start_matches('_');
    name.starts_with('_')
        && (bare.ends_with("text_start")
            || bare.ends_with("thunk_start")
            || bare == "init_begin"
            || is_text_section(bare)
            || bare.strip_prefix('s').is_some_and(is_text_section))
}

fn is_text_section(word: &str) -> bool {
    matches!(word, "text" | "inittext" | "exittext" | "textentry" | "extratext")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(name: &str, size: u64, binding: Binding) -> Contender<'_> {
        Contender { name, source_file: "", module: "m", size, binding }
    }

    #[test]
    fn each_rule_decides_when_those_before_it_are_even() {
        use Binding::{Global, Local, Weak};
        let pairs = [
            (("restore_all_guest", 0, Local), ("_stextentry", 0, Global)),
            (("amd_nonfatal_mcheck_init", 0, Local), ("trampoline_end", 0, Global)),
            (("setup_core_parking_option", 0, Local), ("__init_begin", 0, Global)),
            (("srso_alias_untrain_ret", 0, Global), ("_stext", 0, Global)),
            (("local_but_sized", 9, Local), ("label", 0, Global)),
            (("exported_function", 9, Weak), ("inner", 9, Local)),
            (("write", 9, Weak), ("__write", 9, Global)),
            (("memcpy_longer", 9, Global), ("memcpy", 9, Weak)),
            (("abc", 9, Global), ("abcd", 9, Global)),
            (("abc", 9, Global), ("abd", 9, Global)),
        ];
        for ((winner, ws, wb), (loser, ls, lb)) in pairs {
            let (w, l) = (contender(winner, ws, wb), contender(loser, ls, lb));
            assert_eq!(compare(&w, &l), Ordering::Less, "{winner} before {loser}");
            assert_eq!(compare(&l, &w), Ordering::Greater, "{winner} before {loser}");
        }
    }

    #[test]
    fn section_marks_are_told_from_functions() {
        for mark in [
            "_text",
            "_stext",
            "_etext",
            "_sinittext",
            "_einittext",
            "__entry_text_start",
            "__softirqentry_text_end",
            "_stextentry",
            "__pi__text",
            "__image_base__",
            "__indirect_thunk_start",
        ] {
            assert!(is_section_mark(mark), "{mark}");
        }
        assert!(is_section_end("_etext") && !is_section_end("_stext"));
        for function in ["text", "_start", "start", "set_text_start", "context_end", "__stop", "e"]
        {
            assert!(!is_section_mark(function), "{function}");
        }
    }
}
