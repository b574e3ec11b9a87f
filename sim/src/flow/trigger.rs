//! Functions by pattern.

use crate::error::Error;
use crate::functions::Function;
use std::fmt;
use std::str::FromStr;
use strata_symbols::{Layer, fits_pattern};

/// A function, or all whose names fit a pattern: `tcp_sendmsg`, `dom0-kernel:netif_*`,
/// `*-kernel:do_IRQ`. `*` stands for any text, `domU` in a layer for every domain but 0. Case
/// matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    layer: Option<String>,
    function: String,
}

impl Trigger {
    /// The pattern of the function alone.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// Whether it can stand for several names.
    pub fn is_pattern(&self) -> bool {
        self.function.contains('*')
    }

    /// Whether it stands for this function. Code without a name is `unknown`.
    pub fn matches(&self, function: &Function) -> bool {
        let name = function.name.as_ref().map_or("unknown", |name| name.function.as_str());
        self.layer.as_ref().is_none_or(|layer| is_layer(layer, function.layer))
            && fits_pattern(&self.function, name)
    }
}

/// Whether a pattern stands for a layer.
fn is_layer(pattern: &str, layer: Layer) -> bool {
    let guest = layer.domain().is_some_and(|domain| domain.0 != 0);
    match (pattern.strip_prefix("domU"), layer) {
        (Some(rest), Layer::Kernel(_)) => guest && fits_pattern(rest, "-kernel"),
        (Some(rest), Layer::User(_)) => guest && fits_pattern(rest, "-user"),
        (Some(_), _) => false,
        (None, layer) => fits_pattern(pattern, &layer.to_string()),
    }
}

/// Whether text before a colon means a layer, and not the first part of a C++ name.
fn names_layer(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '*');
    text.parse::<Layer>().is_ok()
        || text.starts_with("domU-")
        || (text.contains('*') && text.chars().all(plain))
}

impl FromStr for Trigger {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::Trigger { given: text.to_owned(), why };
        let (layer, function) = match text.split_once(':') {
            Some((layer, function)) if !function.starts_with(':') => {
                if !names_layer(layer) {
                    return Err(bad(
                        "before the colon should be a layer, such as hypervisor, dom0-kernel, \
                         domU-kernel, dom1-user or *-kernel",
                    ));
                }
                (Some(layer.to_owned()), function)
            }
            _ => (None, text),
        };
        if function.is_empty() {
            return Err(bad("it names no function"));
        }
        Ok(Trigger { layer, function: function.to_owned() })
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.layer {
            Some(layer) => write!(f, "{layer}:{}", self.function),
            None => f.pad(&self.function),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::Name;

    fn function(layer: &str, function: &str) -> Function {
        let name = Name { module: "m".into(), function: function.into(), address: 0 };
        Function { layer: layer.parse().unwrap(), name: Some(name) }
    }

    fn matches(trigger: &str, layer: &str, name: &str) -> bool {
        trigger.parse::<Trigger>().unwrap().matches(&function(layer, name))
    }

    #[test]
    fn a_layer_before_the_colon_restricts_and_a_cpp_name_is_no_layer() {
        assert!(matches("do_IRQ", "dom0-kernel", "do_IRQ"));
        assert!(matches("dom0-kernel:do_IRQ", "dom0-kernel", "do_IRQ"));
        assert!(!matches("dom0-kernel:do_IRQ", "hypervisor", "do_IRQ"));
        assert!(matches("*-kernel:do_IRQ", "dom3-kernel", "do_IRQ"));
        assert!(matches("domU-kernel:tcp_*", "dom2-kernel", "tcp_ack"));
        assert!(!matches("domU-kernel:tcp_*", "dom0-kernel", "tcp_ack"));
        assert!(!matches("domU-*:tcp_*", "hypervisor", "tcp_ack"));
        assert!(matches("std::vector*", "dom1-user", "std::vector<int>::push_back"));
        assert!(matches("dom1-user:std::vector*", "dom1-user", "std::vector<int>::push_back"));
    }

    #[test]
    fn what_is_no_trigger_is_refused_with_what_one_is() {
        for text in ["", "dom0-kernel:", "kernel:do_IRQ", "dom0:do_IRQ"] {
            let said = text.parse::<Trigger>().unwrap_err().to_string();
            assert!(said.contains("LAYER:FUNCTION"), "{said}");
        }
        let unnamed = Function { layer: Layer::Hypervisor, name: None };
        assert!("unknown".parse::<Trigger>().unwrap().matches(&unnamed));
    }
}
